"""Two ways of training side by side: ``python -m distill.reporting.paired --student A.json ... --baseline B.json ...``.

One file of predictions for each seed, in the same order on both sides: the ``predictions.json`` that ``validate`` and
``test`` write, or the ``outcomes.jsonl`` of ``fit``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from distill.entry import run_function
from distill.files import Paths, listed_paths
from distill.metrics.bootstrap import Interval, percentile_interval, resampled_sums
from distill.tasks.base import Task
from distill.tasks.labelled import LabelledTask
from distill.tasks.question_answering.reading import read_examples
from distill.tasks.question_answering.task import QuestionAnswering
from distill.types import UserError


@dataclass(frozen=True)
class PairedComparison:
    """One score of both sides, in percent.

    Attributes:
        student: The score of each seed.
        baseline: The same of the other side.
        difference: The mean over seeds of student minus baseline.
        interval: Where that difference lies with 95 % confidence, for other items about other texts.
        student_interval: Where the student's mean over seeds lies.
        ratio: The student's mean over the baseline's, so what a student keeps of its teacher's where that is the
            baseline; none where the baseline's is 0.
        ratio_interval: Where that share lies, paired as the difference is, over the resamples in which it is one.
    """

    student: list[float]
    baseline: list[float]
    difference: float
    interval: Interval
    student_interval: Interval
    ratio: float | None
    ratio_interval: Interval | None


def compare(
    task: Task,
    examples: Sequence[Any],
    student: Sequence[Mapping[str, str]],
    baseline: Sequence[Mapping[str, str]],
) -> dict[str, PairedComparison]:
    """Compare the predictions of two ways of training, item by item and seed by seed; return name to comparison.

    With ``s_i`` and ``b_i`` a score of seed i on each side, the difference is the mean over i of ``s_i - b_i``. A score
    is ``100 sum_j part_j / sum_j whole_j`` over items j (:class:`~distill.tasks.Tally`), so a mean over questions as
    well as the F1 of spans. The interval draws texts, with all items about one: paragraphs, sentences, second sentences
    of pairs; see :func:`~distill.metrics.bootstrap_interval`.

    Args:
        task: Says what a prediction adds to each score.
        examples: The items, with their references.
        student: Item identifier to prediction, for each seed.
        baseline: The same of the other side, as many seeds.

    Raises:
        UserError: If the numbers of seeds differ or a prediction is missing.
    """
    if not student or len(student) != len(baseline):
        raise UserError(f"{len(student)} and {len(baseline)} predictions files: give one of each side for every seed")
    texts = [task.show(example).context for example in examples]
    tallies = [
        [_tallies(task, examples, file, index) for index, file in enumerate(side)] for side in (student, baseline)
    ]
    return {
        name: _compare(np.stack([[seed[name] for seed in side] for side in tallies]), texts) for name in tallies[0][0]
    }


def _tallies(
    task: Task, examples: Sequence[Any], predictions: Mapping[str, str], index: int
) -> dict[str, NDArray[np.float64]]:
    """Return part and whole of each item, (N, 2), by score."""
    rows = []
    for example in examples:
        item_id = task.show(example).item_id
        if item_id not in predictions:
            raise UserError(f"predictions file {index + 1} has no prediction for {item_id}")
        rows.append(task.tally(predictions[item_id], example))
    return {name: np.array([row[name] for row in rows], dtype=np.float64) for name in rows[0]}


def _compare(tallies: NDArray[np.float64], texts: Sequence[str]) -> PairedComparison:
    """Compare the two sides' parts and wholes of each seed and item, (2, I, N, 2)."""
    num_seeds, num_items = tallies.shape[1:3]
    columns = tallies.transpose(2, 0, 1, 3).reshape(num_items, -1)
    resampled = _scores(resampled_sums(columns, texts).reshape(-1, 2, num_seeds, 2)).mean(axis=-1)
    scores = _scores(tallies.sum(axis=2))
    student, baseline = scores.mean(axis=-1)
    is_share = resampled[:, 1] > 0
    shares = resampled[is_share, 0] / resampled[is_share, 1]
    return PairedComparison(
        student=scores[0].tolist(),
        baseline=scores[1].tolist(),
        difference=float(student - baseline),
        interval=percentile_interval(resampled[:, 0] - resampled[:, 1]),
        student_interval=percentile_interval(resampled[:, 0]),
        ratio=float(student / baseline) if baseline else None,
        ratio_interval=percentile_interval(shares) if baseline else None,
    )


def _scores(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return ``100 part / whole`` of sums (..., 2), 0 where there is nothing to divide by."""
    return 100 * sums[..., 0] / np.maximum(sums[..., 1], np.finfo(np.float64).tiny)


def _read_examples(task: Task, references: Sequence[str]) -> Sequence[Any]:
    """Return the items of files, or of the dev part of the set that the package carries for the task."""
    if isinstance(task, LabelledTask):
        return task.read(list(references) or [task.embedded("dev")])[0]
    if references:
        return read_examples(references)[0]
    with resources.as_file(resources.files("distill.assets") / "qa_es" / "dev.json") as file:
        return read_examples([file])[0]


def _read_predictions(file: str) -> dict[str, str]:
    try:
        text = Path(file).read_text(encoding="utf-8")
        if file.endswith(".jsonl"):
            rows = [json.loads(line) for line in text.splitlines()]
            return {row["id"]: row["student"]["prediction"] for row in rows}
        predictions = json.loads(text)
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise UserError(f"{file}: cannot be read as a predictions file: {error}") from error
    if not isinstance(predictions, dict):
        raise UserError(f"{file}: is no object of item ids and predictions")
    return predictions


def _table(results: Mapping[str, PairedComparison]) -> Table:
    table = Table("", "student, each seed", "baseline, each seed", "difference", "95 % interval")
    for name, result in results.items():
        seeds = [" ".join(f"{value:.2f}" for value in side) for side in (result.student, result.baseline)]
        low, high = result.interval
        table.add_row(name, *seeds, f"{result.difference:+.2f}", f"{low:+.2f} to {high:+.2f}")
    return table


def compare_runs(
    task: Task, student: Sequence[str], baseline: Sequence[str], references: Sequence[str] = ()
) -> dict[str, PairedComparison]:
    """Return :func:`compare` of files, for the arguments of :func:`compare_files`."""
    sides = [[_read_predictions(file) for file in files] for files in (student, baseline)]
    return compare(task, _read_examples(task, references), sides[0], sides[1])


def compare_files(student: Paths, baseline: Paths, references: Paths | None = None, task: Task | None = None) -> None:
    """Print the scores of two ways of training, their difference and its paired 95 % interval, and the same as JSON.

    Args:
        student: One predictions file for each seed.
        baseline: The same of the other side, in the same order.
        references: Files with the right answers; the dev part of the embedded set when left out.
        task: What is predicted; extractive question answering in Spanish when left out.
    """
    task = task if task is not None else QuestionAnswering()
    labels = {score.name: score.label for score in task.headline}
    found = compare_runs(task, *map(listed_paths, (student, baseline, references)))
    results = {labels[name]: result for name, result in found.items()}
    console = Console()
    console.print(_table(results))
    console.print_json(data={name: asdict(result) for name, result in results.items()})


if __name__ == "__main__":
    run_function(compare_files)
