"""Two ways of training side by side: ``python -m distill.reporting.paired --student A.json ... --baseline B.json ...``.

One ``predictions.json`` for each seed, as ``validate`` and ``test`` write them, in the same order on both sides.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from importlib import resources
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from distill.entry import run_function
from distill.metrics.bootstrap import Interval, bootstrap_interval
from distill.metrics.normalize import normalize_mlqa
from distill.metrics.squad import exact_match, f1
from distill.tasks.question_answering.reading import read_examples
from distill.types import Example, UserError

#: Compares an answer with its references.
Score = Callable[[str, Sequence[str]], float]


@dataclass(frozen=True)
class PairedComparison:
    """One score of both sides, in percent.

    Attributes:
        student: The mean over questions of each seed.
        baseline: The same of the other side.
        difference: The mean over seeds and questions of student minus baseline.
        interval: Where that difference lies with 95 % confidence, for other questions about other paragraphs.
    """

    student: list[float]
    baseline: list[float]
    difference: float
    interval: Interval


def compare(
    examples: Sequence[Example],
    student: Sequence[Mapping[str, str]],
    baseline: Sequence[Mapping[str, str]],
    score: Score,
) -> PairedComparison:
    """Compare the predictions of two ways of training, question by question and seed by seed.

    With ``s_ij`` and ``b_ij`` the scores of seed i on question j, the difference is the mean over j of
    ``mean_i (s_ij - b_ij)``; the interval resamples paragraphs, see :func:`~distill.metrics.bootstrap_interval`.

    Args:
        examples: The questions.
        student: Question id to answer, for each seed.
        baseline: The same of the other side, as many seeds.
        score: From 0 to 1.

    Raises:
        UserError: If the numbers of seeds differ or a prediction is missing.
    """
    if not student or len(student) != len(baseline):
        raise UserError(f"{len(student)} and {len(baseline)} predictions files: give one of each side for every seed")
    sides = [_scores(examples, predictions, score) for predictions in (student, baseline)]
    difference = (sides[0] - sides[1]).mean(axis=0)
    interval = bootstrap_interval(difference.tolist(), [example.context for example in examples])
    means = [side.mean(axis=1).tolist() for side in sides]
    return PairedComparison(means[0], means[1], float(difference.mean()), interval)


def _scores(examples: Sequence[Example], seeds: Sequence[Mapping[str, str]], score: Score) -> np.ndarray:
    """Return (number of seeds, number of questions), in percent."""
    rows = []
    for seed_index, predictions in enumerate(seeds):
        missing = next((example.question_id for example in examples if example.question_id not in predictions), None)
        if missing is not None:
            raise UserError(f"predictions file {seed_index + 1} has no answer to question {missing}")
        rows.append(
            [
                100 * score(predictions[example.question_id], [answer.text for answer in example.answers] or [""])
                for example in examples
            ]
        )
    return np.array(rows, dtype=np.float64)


def _read_predictions(file: str) -> dict[str, str]:
    try:
        predictions = json.loads(Path(file).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{file}: cannot be read as a predictions file: {error}") from error
    if not isinstance(predictions, dict):
        raise UserError(f"{file}: is no object of question ids and answers")
    return predictions


def _table(results: Mapping[str, PairedComparison]) -> Table:
    table = Table("", "student, each seed", "baseline, each seed", "difference", "95 % interval")
    for name, result in results.items():
        seeds = [" ".join(f"{value:.2f}" for value in side) for side in (result.student, result.baseline)]
        low, high = result.interval
        table.add_row(name, *seeds, f"{result.difference:+.2f}", f"{low:+.2f} to {high:+.2f}")
    return table


def compare_files(
    student: list[str], baseline: list[str], references: list[str] | None = None, language: str = "es"
) -> None:
    """Print F1 and EM of two ways of training, their difference and its paired 95 % interval, and the same as JSON.

    Args:
        student: One predictions file for each seed.
        baseline: The same of the other side, in the same order.
        references: SQuAD JSON files with the right answers; the embedded set's dev part when left out.
        language: Whose articles the scores ignore.
    """
    if references:
        examples, _ = read_examples(references)
    else:
        with resources.as_file(resources.files("distill.assets") / "qa_es" / "dev.json") as file:
            examples, _ = read_examples([file])
    sides = [[_read_predictions(file) for file in files] for files in (student, baseline)]
    normalize = partial(normalize_mlqa, language=language)
    results = {
        name: compare(examples, sides[0], sides[1], partial(score, normalize=normalize))
        for name, score in (("F1", f1), ("EM", exact_match))
    }
    console = Console()
    console.print(_table(results))
    console.print_json(data={name: asdict(result) for name, result in results.items()})


if __name__ == "__main__":
    run_function(compare_files)
