"""Whether a format is any good: how near to the original, how right, how fast, how big."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from distill.data.windows import WindowDataset
from distill.metrics.bootstrap import Interval, bootstrap_interval
from distill.metrics.normalize import normalize_mlqa
from distill.metrics.squad import NO_ANSWER, exact_match, f1
from distill.reporting.latency import Latency, RelativeTime
from distill.tasks.base import EvaluationResult, Task
from distill.tasks.question_answering.answers import ChosenAnswer
from distill.tasks.question_answering.task import QuestionAnswering
from distill.types import Batch, Example

#: The most that a float32 logit may differ from torch's.
MAX_DIFFERENCE = 1e-4

#: The most F1, in points, that a format may lose against float32 torch.
MAX_F1_LOSS = 0.5

#: A batch size and a length.
Point = tuple[int, int]


@dataclass(frozen=True)
class FormatFigures:
    """What was measured of one format.

    Attributes:
        dtype: What its weights are in.
        size_bytes: Bytes of its weights on disk.
        max_difference: The most that a logit of a real token differs from the original model's, ``padded`` in a batch
            of windows of different lengths and ``unpadded`` in single windows.
        scores: Metric name to value, percentages from 0 to 100.
        intervals: 95 % confidence intervals of ``exact_match`` and ``f1``.
        changed_answers: Questions that float32 torch answers otherwise, and its :func:`margin` there.
        latency: Timings by batch size and length; the first one is the point of comparison.
        relative_time: Time over that of float32 torch there, round by round.
    """

    dtype: str
    size_bytes: int
    max_difference: Mapping[str, float]
    scores: Mapping[str, float]
    intervals: Mapping[str, Interval]
    changed_answers: Mapping[str, float | None]
    latency: Mapping[Point, Latency]
    relative_time: Mapping[Point, RelativeTime]


def find_problems(figures: FormatFigures, reference: FormatFigures) -> list[str]:
    """Return what speaks against shipping a format, in words; nothing if it is good.

    Logits of float32 that differ by more than ``MAX_DIFFERENCE``, answers of float32 that change though the best two
    were further apart than that, a loss of more than ``MAX_F1_LOSS``, and calls at any batch size and length that are
    longer in at least three of four rounds: a difference within the spread of the rounds is none.

    Args:
        figures: The format's.
        reference: Float32 torch's, timed in turns with the format.
    """
    problems = []
    difference = max(figures.max_difference.values())
    if figures.dtype == "float32" and not difference <= MAX_DIFFERENCE:
        problems.append(f"logits differ by {difference:.1e}")
    changed = [name for name, gap in figures.changed_answers.items() if gap is None or gap >= MAX_DIFFERENCE]
    if figures.dtype == "float32" and changed:
        problems.append(f"answers {len(changed)} questions otherwise")
    loss = reference.scores["f1"] - figures.scores["f1"]
    if loss > MAX_F1_LOSS:
        problems.append(f"loses {loss:.2f} F1")
    for (batch_size, length), time in figures.relative_time.items():
        if time.low > 1:
            problems.append(
                f"slower at {batch_size} x {length}: {time.median:.2f}x the time, "
                f"{time.low:.2f} to {time.high:.2f} in half of the rounds"
            )
    return problems


def score(
    model: nn.Module, task: QuestionAnswering, dataloader: DataLoader[Batch]
) -> tuple[EvaluationResult, dict[str, ChosenAnswer]]:
    """Score a model over an evaluation set on the CPU, in the precision that it is in; return its answers too."""
    evaluation = task.evaluation(dataloader.dataset.examples)  # type: ignore[attr-defined]
    with torch.inference_mode():
        for batch in dataloader:
            evaluation.update(task.logits(model(**batch.inputs)), batch)
    return evaluation.compute(), evaluation.answers()


def score_intervals(examples: Sequence[Example], predictions: Mapping[str, str], language: str) -> dict[str, Interval]:
    """Return 95 % intervals of ``exact_match`` and ``f1`` in percent; whole contexts are drawn."""
    normalize = partial(normalize_mlqa, language=language)
    contexts = [example.context for example in examples]
    return {
        name: bootstrap_interval(
            [
                100
                * metric(
                    predictions[example.question_id],
                    [answer.text for answer in example.answers] or NO_ANSWER,
                    normalize,
                )
                for example in examples
            ],
            contexts,
        )
        for name, metric in (("exact_match", exact_match), ("f1", f1))
    }


def changed_answers(
    answers: Mapping[str, ChosenAnswer], reference: Mapping[str, ChosenAnswer], null_threshold: float | None
) -> dict[str, float | None]:
    """Return the questions that two models answer differently, with the reference's :func:`margin`."""
    return {
        question_id: margin(answer, null_threshold)
        for question_id, answer in reference.items()
        if answers[question_id].text != answer.text
    }


def margin(answer: ChosenAnswer, null_threshold: float | None) -> float | None:
    """Return how far the best answer's score is above the second best one's, in logits; None if there is no second.

    "No answer" takes part with its score less ``null_threshold``, unless that is None.
    """
    scores = [candidate.score for candidate in answer.n_best[:2]]
    if null_threshold is not None:
        scores.append(answer.null_score - null_threshold)
    best, *others = sorted(scores, reverse=True) or [0.0]
    return best - others[0] if others else None


def sample_batches(windows: WindowDataset, num_windows: int, batch_size: int) -> list[Batch]:
    """Return windows spread evenly over a set, in padded batches; all of them where there are fewer."""
    window_ids = np.unique(np.linspace(0, len(windows) - 1, num_windows).round().astype(np.int64)).tolist()
    return [windows[window_ids[i : i + batch_size]] for i in range(0, len(window_ids), batch_size)]


def without_padding(batch: Batch) -> list[dict[str, Tensor]]:
    """Return the inputs of each window of a batch on its own, (1, S_w), wherever its padding stood."""
    return [
        {name: tensor[row : row + 1, mask.bool()] for name, tensor in batch.inputs.items()}
        for row, mask in enumerate(batch.attention_mask)
    ]


def max_difference(model: nn.Module, reference: nn.Module, task: Task, inputs: Iterable[Mapping[str, Tensor]]) -> float:
    """Return the largest absolute difference between two models' logits on real tokens; NaN if one is not a number."""
    largest = torch.zeros(())
    with torch.inference_mode():
        for batch in inputs:
            difference = (task.logits(model(**batch)).float() - task.logits(reference(**batch)).float()).abs()
            # Unlike Python's, torch's maximum passes NaN on.
            largest = torch.maximum(largest, difference[batch["attention_mask"].bool()].max())
    return float(largest)


def describe(figures: FormatFigures, problems: Sequence[str]) -> dict[str, Any]:
    """Return a format's figures as plain data for ``export.json``."""
    return {
        "dtype": figures.dtype,
        "size_bytes": figures.size_bytes,
        "max_difference": dict(figures.max_difference),
        "exact_match": figures.scores["exact_match"],
        "f1": figures.scores["f1"],
        "intervals": {name: list(interval) for name, interval in figures.intervals.items()},
        "changed_answers": dict(figures.changed_answers),
        "latency": [
            {
                "batch_size": batch_size,
                "length": length,
                "p50_ms": timing.p50_ms,
                "p95_ms": timing.p95_ms,
                "windows_per_second": timing.windows_per_second,
                "relative_time": asdict(figures.relative_time[batch_size, length]),
            }
            for (batch_size, length), timing in figures.latency.items()
        ],
        "scores": dict(figures.scores),
        "problems": list(problems),
    }
