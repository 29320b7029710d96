"""What the comparison came to, as a table and as plain data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from distill.metrics.bootstrap import Interval
from distill.reporting.paired import compare
from distill.tasks.question_answering.task import QuestionAnswering
from distill.types import Example

from .arms import ARMS
from .comparison import MEASURE, Outcome, mean_seconds
from .runs import Result

#: The columns, and where their figures stand in a row.
HEADER = ("", "rate", "steps", "seconds", "F1, each seed", "EM", "of the teacher's F1", "best.yaml minus it", "95 %")


@dataclass(frozen=True)
class Row:
    """One arm at one budget.

    Attributes:
        arm: Its name.
        learning_rate: Its rate.
        num_steps: Its steps.
        seconds: Mean over seeds of what a training cost.
        f1: Each seed's on the test questions.
        exact_match: The same.
        retention: Mean F1 over the teacher's.
        lead: How many points of F1 ``best.yaml`` is ahead; nothing in its own row.
        interval: Where the lead lies with 95 % confidence, paired by question, paragraphs resampled.
    """

    arm: str
    learning_rate: float
    num_steps: int
    seconds: float
    f1: list[float]
    exact_match: list[float]
    retention: float
    lead: float | None
    interval: Interval | None


def rows(results: Mapping[str, Sequence[Result]], teacher: float, examples: Sequence[Example]) -> list[Row]:
    """Return one row an arm.

    Args:
        results: Arm to one result a seed; an arm is compared over the seeds that ``best.yaml`` has too.
        teacher: The teacher's F1.
        examples: The test questions.
    """
    task = QuestionAnswering()
    best_of = {result.seed: result.predictions for result in results.get(MEASURE, ())}
    table = []
    for arm, finished in results.items():
        runs = [result for result in finished if result.seed in best_of]
        if not runs:
            continue
        own, best = [result.predictions for result in runs], [best_of[result.seed] for result in runs]
        scores = compare(task, examples, best, own)
        values = {name: found.baseline for name, found in scores.items()}
        is_best = arm == MEASURE
        table.append(
            Row(
                arm=arm,
                learning_rate=runs[0].learning_rate,
                num_steps=runs[0].num_steps,
                seconds=mean_seconds(runs),
                f1=values["f1"],
                exact_match=values["exact_match"],
                retention=_mean(values["f1"]) / teacher,
                lead=None if is_best else scores["f1"].difference,
                interval=None if is_best else scores["f1"].interval,
            )
        )
    return table


def teacher_scores(answers: Mapping[str, str], examples: Sequence[Example]) -> dict[str, float]:
    """Return the teacher's F1 and EM on the test questions, in percent."""
    scores = compare(QuestionAnswering(), examples, [answers], [answers])
    return {name: scores[name].student[0] for name in ("f1", "exact_match")}


def summarise(outcome: Outcome, examples: Sequence[Example]) -> dict[str, Any]:
    """Return everything that the tables show, as plain data."""
    teacher = teacher_scores(outcome.teacher, examples)
    budgets = {name: rows(getattr(outcome, name), teacher["f1"], examples) for name in ("steps", "time")}
    return {
        "teacher": teacher,
        "num_questions": len(examples),
        "tried": {arm: {f"{rate:g}": f1 for rate, f1 in rates.items()} for arm, rates in outcome.tried.items()},
        **{name: [asdict(row) for row in table] for name, table in budgets.items() if table},
    }


def markdown(summary: Mapping[str, Any]) -> str:
    """Return the tables as Markdown."""
    teacher = summary["teacher"]
    lines = [
        f"Teacher: F1 {teacher['f1']:.2f}, EM {teacher['exact_match']:.2f} on {summary['num_questions']:,} questions."
    ]
    for budget in ("steps", "time"):
        if budget in summary:
            lines += ["", f"At equal {budget}:", "", f"| {' | '.join(HEADER)} |", "|---" * len(HEADER) + "|"]
            lines += [f"| {' | '.join(_cells(row))} |" for row in summary[budget]]
    return "\n".join(lines) + "\n"


def _cells(row: Mapping[str, Any]) -> list[str]:
    lead, interval = row["lead"], row["interval"]
    return [
        ARMS[row["arm"]].title,
        f"{row['learning_rate']:g}",
        f"{row['num_steps']:,}",
        f"{row['seconds']:.0f}",
        f"**{_mean(row['f1']):.1f}** ({', '.join(f'{value:.1f}' for value in row['f1'])})",
        f"{_mean(row['exact_match']):.1f}",
        f"{100 * row['retention']:.1f} %",
        "" if lead is None else f"{lead:+.1f}",
        "" if interval is None else f"{interval[0]:+.1f} to {interval[1]:+.1f}",
    ]


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
