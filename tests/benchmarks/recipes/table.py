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
from .comparison import BUDGETS, MEASURE, TOLERANCE, Outcome, mean_seconds
from .runs import Result

#: The columns, and where their figures stand in a row.
HEADER = (
    "", "rate", "steps", "seconds", "of best.yaml's", "F1, each seed", "95 %", "EM", "of the teacher's F1", "95 %",
    "best.yaml minus it", "95 %",
)  # fmt: skip


@dataclass(frozen=True)
class Row:
    """One arm at one budget. Intervals are of 95 % confidence, paragraphs of the test questions resampled.

    Attributes:
        arm: Its name.
        learning_rate: Its rate.
        num_steps: Its steps.
        seconds: Mean over seeds of what a training cost.
        cost: That over the mean of ``best.yaml``, whose is the budget at equal time.
        f1: Each seed's on the test questions.
        f1_interval: Where their mean lies.
        exact_match: The same as ``f1``.
        retention: Mean F1 over the teacher's.
        retention_interval: Where it lies, paired by question.
        lead: How many points of F1 ``best.yaml`` is ahead; nothing in its own row.
        interval: Where the lead lies, paired by question.
    """

    arm: str
    learning_rate: float
    num_steps: int
    seconds: float
    cost: float
    f1: list[float]
    f1_interval: Interval
    exact_match: list[float]
    retention: float | None
    retention_interval: Interval | None
    lead: float | None
    interval: Interval | None


def rows(results: Mapping[str, Sequence[Result]], teacher: Mapping[str, str], examples: Sequence[Example]) -> list[Row]:
    """Return one row an arm.

    Args:
        results: Arm to one result a seed; an arm is compared over the seeds that ``best.yaml`` has too.
        teacher: The teacher's answers.
        examples: The test questions.
    """
    task = QuestionAnswering()
    measure = results.get(MEASURE, ())
    best_of = {result.seed: result.predictions for result in measure}
    table = []
    for arm, finished in results.items():
        runs = [result for result in finished if result.seed in best_of]
        if not runs:
            continue
        own, best = [result.predictions for result in runs], [best_of[result.seed] for result in runs]
        scores = compare(task, examples, own, [teacher] * len(runs))
        lead = None if arm == MEASURE else compare(task, examples, best, own)["f1"]
        table.append(
            Row(
                arm=arm,
                learning_rate=runs[0].learning_rate,
                num_steps=runs[0].num_steps,
                seconds=mean_seconds(runs),
                cost=mean_seconds(runs) / mean_seconds(measure),
                f1=scores["f1"].student,
                f1_interval=scores["f1"].student_interval,
                exact_match=scores["exact_match"].student,
                retention=scores["f1"].ratio,
                retention_interval=scores["f1"].ratio_interval,
                lead=lead and lead.difference,
                interval=lead and lead.interval,
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
    budgets = {name: rows(getattr(outcome, name), outcome.teacher, examples) for name in BUDGETS}
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
    for budget in BUDGETS:
        if budget in summary:
            table = summary[budget]
            missed = [row["arm"] for row in table if budget == "time" and abs(row["cost"] - 1) > TOLERANCE]
            note = f" (*: off by more than {100 * TOLERANCE:.0f} %)" if missed else ""
            lines += ["", f"At equal {budget}{note}:", "", f"| {' | '.join(HEADER)} |", "|---" * len(HEADER) + "|"]
            lines += [f"| {' | '.join(_cells(row, row['arm'] in missed))} |" for row in table]
    return "\n".join(lines) + "\n"


def _cells(row: Mapping[str, Any], is_off: bool) -> list[str]:
    lead, retention = row["lead"], row["retention"]
    return [
        ARMS[row["arm"]].title,
        f"{row['learning_rate']:g}",
        f"{row['num_steps']:,}",
        f"{row['seconds']:.0f}",
        f"{row['cost']:.2f}{' *' if is_off else ''}",
        f"**{_mean(row['f1']):.1f}** ({', '.join(f'{value:.1f}' for value in row['f1'])})",
        _span(row["f1_interval"], "{:.1f}"),
        f"{_mean(row['exact_match']):.1f}",
        "" if retention is None else f"{100 * retention:.1f} %",
        _span(retention and [100 * end for end in row["retention_interval"]], "{:.1f}"),
        "" if lead is None else f"{lead:+.1f}",
        _span(row["interval"], "{:+.1f}"),
    ]


def _span(interval: Sequence[float] | None, style: str) -> str:
    return "" if not interval else " to ".join(style.format(end) for end in interval)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
