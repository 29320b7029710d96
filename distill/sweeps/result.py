"""What a sweep found: its trials as rows, which of them are worth having, and the files that say so."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distill.reporting.comparison import score_label
from distill.reporting.pareto import pareto_front
from distill.reporting.run import read_run
from distill.sweeps.spec import Sweep
from distill.sweeps.study import decode, message_of, progress_of

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

#: Optuna's states in words.
STATES = {"COMPLETE": "complete", "PRUNED": "stopped early", "FAIL": "failed", "RUNNING": "running"}


@dataclass(frozen=True)
class TrialRow:
    """One trial in tables and pictures.

    Attributes:
        number: Its number.
        state: How it stands.
        score: Final score, of a complete trial.
        latency_ms: The student's median latency, of a complete trial.
        last_score: The latest score that was logged.
        settings: What it was run with.
        message: Why it failed.
        is_on_front: Whether no other trial beats it in both score and latency.
    """

    number: int
    state: str
    score: float | None
    latency_ms: float | None
    last_score: float | None
    settings: dict[str, Any]
    message: str
    is_on_front: bool = False


@dataclass(frozen=True)
class Result:
    """A sweep's trials, and the teacher's score and latency where a trial had a teacher."""

    sweep: Sweep
    rows: tuple[TrialRow, ...]
    teacher: tuple[float, float] | None = None

    @property
    def complete(self) -> list[tuple[TrialRow, float, float]]:
        """The complete trials with score and latency, fastest first."""
        found = [
            (row, row.score, row.latency_ms)
            for row in self.rows
            if row.score is not None and row.latency_ms is not None
        ]
        return sorted(found, key=lambda item: (item[2], item[0].number))

    @property
    def label(self) -> str:
        """What the score is called."""
        return score_label(self.sweep.score)


def read_result(folder: Path, sweep: Sweep, trials: Sequence[FrozenTrial]) -> Result:
    """Return the result of trials whose runs lie under ``folder``."""
    return Result(sweep, trial_rows(sweep, trials), _teacher(folder, sweep))


def trial_rows(sweep: Sweep, trials: Sequence[FrozenTrial]) -> tuple[TrialRow, ...]:
    """Return the rows of trials, in their order, those on the front marked."""
    complete = [trial for trial in trials if trial.values is not None]
    sign = 1 if sweep.maximize else -1
    front = pareto_front([trial.values[1] for trial in complete], [sign * trial.values[0] for trial in complete])
    on_front = {complete[index].number for index in front}
    return tuple(_row(trial, trial.number in on_front) for trial in trials)


def _row(trial: FrozenTrial, is_on_front: bool) -> TrialRow:
    score, latency_ms = trial.values if trial.values is not None else (None, None)
    return TrialRow(
        number=trial.number,
        state=STATES[trial.state.name],
        score=score,
        latency_ms=latency_ms,
        last_score=next(reversed(progress_of(trial).scores), None),
        settings=decode(trial.params),
        message=message_of(trial),
        is_on_front=is_on_front,
    )


def trials_csv(result: Result) -> str:
    """Return the trials as CSV, a column for each setting."""
    names = [parameter.name for parameter in result.sweep.parameters]
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["trial", "state", result.sweep.score, "p50_ms", "last_score", "is_on_front", *names, "message"])
    for row in result.rows:
        figures = (row.score, row.latency_ms, row.last_score, row.is_on_front)
        writer.writerow([row.number, row.state, *figures, *(row.settings.get(name) for name in names), row.message])
    return text.getvalue()


def _teacher(folder: Path, sweep: Sweep) -> tuple[float, float] | None:
    """Return the teacher's score and latency as the latest trial with a report measured them."""
    for path in sorted((folder / "trials").glob("*/report.json"), reverse=True):
        teacher = read_run(path.parent).report.get("teacher") or {}
        score = (teacher.get("scores") or {}).get(sweep.score)
        latency_ms = (teacher.get("latency_ms") or {}).get("p50")
        if score is not None and latency_ms is not None:
            return score, latency_ms
    return None
