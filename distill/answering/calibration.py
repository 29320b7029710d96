"""Scores that say how often answers are right: one temperature, fitted on questions with references."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from huggingface_hub import hf_hub_download
from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, HFValidationError
from numpy.typing import NDArray

from distill.files import write_json
from distill.models.loading import resolve_source
from distill.types import UserError

#: Where a model's folder keeps its temperature.
CALIBRATION_FILE = "calibration.json"

#: Temperatures that are tried: 1.7 % from one to the next.
_TEMPERATURES = np.geomspace(0.05, 50.0, 400)

#: Questions in a bin of equal probabilities, when confidence is compared with success.
_NUM_BINS = 10

Probabilities = NDArray[np.float64]


@dataclass(frozen=True)
class Calibration:
    """A fitted temperature and what it changes on the questions that it was fitted on.

    Attributes:
        temperature: Divides the logits of all candidates.
        num_questions: Questions that it was fitted on.
        accuracy: Share of their answers that match a reference exactly, 0 to 1.
        error_before: Expected calibration error with a temperature of 1, 0 to 1.
        error_after: The same with the fitted temperature; on other questions it will be higher.
    """

    temperature: float
    num_questions: int
    accuracy: float
    error_before: float
    error_after: float

    def write(self, folder: str | Path) -> None:
        """Write it beside a model, whose scores then use it."""
        write_json(Path(folder) / CALIBRATION_FILE, asdict(self))


def fit_temperature(logits: Sequence[Sequence[float]], is_right: Sequence[bool]) -> Calibration:
    """Fit the temperature under which the probability of an answer says how often it is right.

    With ``c(T)`` the probability of a question's answer, the first candidate, ``softmax(logits / T)[0]``, the
    temperature is the one of lowest log loss, ``- mean(right log c(T) + (1 - right) log(1 - c(T)))``.

    Args:
        logits: The logits of every question's candidates, its answer first.
        is_right: Whether that answer matches a reference.

    Raises:
        UserError: If all answers are right, or all wrong, or there are none: then no temperature fits best.

    Reference:
        Guo et al. (2017), On Calibration of Modern Neural Networks, section 4.2. https://arxiv.org/abs/1706.04599
    """
    right = np.asarray(is_right, dtype=np.float64)
    if not 0 < right.sum() < len(right):
        raise UserError(
            f"calibration: {int(right.sum())} of {len(right)} answers are right: give questions of which some are "
            "answered right and some wrong"
        )
    table = _relative(logits)
    losses = [_log_loss(_shares(table, temperature), right) for temperature in _TEMPERATURES]
    best = float(_TEMPERATURES[int(np.argmin(losses))])
    before, after = (calibration_error(_shares(table, temperature), is_right) for temperature in (1.0, best))
    return Calibration(best, len(right), float(right.mean()), before, after)


def answer_probabilities(logits: Sequence[Sequence[float]], temperature: float) -> Probabilities:
    """Return ``softmax(logits / temperature)[0]`` of every question, (N,)."""
    return _shares(_relative(logits), temperature)


def calibration_error(probabilities: Sequence[float] | Probabilities, is_right: Sequence[bool]) -> float:
    """Return the expected calibration error, 0 to 1: the mean over ten equally full bins of |confidence - accuracy|.

    Bins are weighted by their questions. No questions give 0.

    Reference:
        Guo et al. (2017), equation 3, with bins of equal size as in Nguyen and O'Connor (2015).
        https://arxiv.org/abs/1508.05154
    """
    confidence = np.asarray(probabilities, dtype=np.float64)
    right = np.asarray(is_right, dtype=np.float64)
    order = np.argsort(confidence, kind="stable")
    bins = [each for each in np.array_split(order, _NUM_BINS) if len(each)]
    return float(sum(abs(confidence[each].sum() - right[each].sum()) for each in bins) / max(1, len(order)))


def read_temperature(source: str) -> float:
    """Return the temperature that lies beside a model, 1 where there is none.

    Raises:
        UserError: If the file is not what :meth:`Calibration.write` wrote.
    """
    folder = Path(resolve_source(source))
    file = folder / CALIBRATION_FILE
    if not folder.is_dir():
        try:
            file = Path(hf_hub_download(source, CALIBRATION_FILE))
        except (EntryNotFoundError, HfHubHTTPError, HFValidationError, OSError):
            return 1.0  # a model without one; that the model itself cannot be had is said when it is loaded
    if not file.is_file():
        return 1.0
    try:
        return float(json.loads(file.read_text(encoding="utf-8"))["temperature"])
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{file}: holds no temperature ({error!r}): write it again or remove it") from None


def _relative(logits: Sequence[Sequence[float]]) -> NDArray[np.float64]:
    """Return the logits relative to the answer's, (N, most candidates), minus infinity where there is none.

    The answer need not have the highest one: "no answer" may have to win by a threshold.
    """
    table = np.full((len(logits), max(map(len, logits), default=1)), -np.inf)
    for row, values in zip(table, logits, strict=True):
        row[: len(values)] = values
    return table - table[:, :1]


def _shares(relative: NDArray[np.float64], temperature: float) -> Probabilities:
    with np.errstate(over="ignore"):
        return 1.0 / np.exp(relative / temperature).sum(axis=1)


def _log_loss(probabilities: Probabilities, right: Probabilities) -> float:
    # A question with a single candidate has probability 1 whatever the temperature.
    clipped = np.clip(probabilities, 1e-12, 1 - 1e-12)
    return float(-(right * np.log(clipped) + (1 - right) * np.log1p(-clipped)).mean())
