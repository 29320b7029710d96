"""The report of a run of several tasks: a section for each, what they share, and one table."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict
from typing import Any

from rich.table import Table

from distill.reporting.comparison import flatten_figures, ratio
from distill.tasks.base import EvaluationResult, Score

#: Parts of a task's report that are the same for all tasks of a run.
_SHARED = ("status", "ended", "checkpoints", "stages", "throughput", "environment", "numerics")

Results = Mapping[str | None, EvaluationResult]


def run_scores(results: Results, mean: Callable[[Results], float | None]) -> dict[str, float]:
    """Return the scores of a run: those of its only task, or the mean and each score as ``<task>/<score>``."""
    if None in results:
        return dict(results[None].scores)
    scores = {f"{task}/{name}": value for task, found in results.items() for name, value in found.scores.items()}
    value = mean(results)
    return scores if value is None else {"mean": value, **scores}


def logged_scores(metrics: Mapping[str, Any], split: str, tasks: Collection[str | None]) -> dict[str, float]:
    """Return what was logged last of a split, under the names of :func:`run_scores`.

    Example:
        >>> logged_scores({"val/mean": 70.0, "qa/val/f1": 80.0, "train/loss": 1.0}, "val", ["qa"])
        {'mean': 70.0, 'qa/f1': 80.0}
    """
    prefixes = {f"{split}/": "", **{f"{task}/{split}/": f"{task}/" for task in tasks if task is not None}}
    return {
        short + name.removeprefix(prefix): float(value)
        for name, value in metrics.items()
        for prefix, short in prefixes.items()
        if name.startswith(prefix)
    }


def join_reports(
    reports: Mapping[str, Mapping[str, Any]],
    majority: Mapping[str, EvaluationResult | None],
    score: Score,
    means: Mapping[str, float | None],
    sizes: Mapping[str, int],
) -> dict[str, Any]:
    """Return the content of ``report.json`` for a run of several tasks.

    ``tasks`` holds what :func:`~distill.reporting.comparison.build_report` says of each, without what they share, and
    under ``majority`` the scores of always guessing the most frequent class. ``student`` and ``teacher`` are the run as
    a whole: the mean over tasks and the parameters, those of the shared encoder counted once.

    Args:
        reports: Each task's report.
        majority: Each task's blind guess, where there is one.
        score: What the run as a whole is judged by.
        means: That score of ``student`` and of ``teacher``; None where some task has no teacher.
        sizes: Parameters of all students together and of all teachers together.
    """
    first = next(iter(reports.values()))

    def whole(model: str) -> dict[str, Any] | None:
        value = means[model]
        if not sizes[model]:
            return None
        return {
            score.name: value,
            "num_parameters": sizes[model],
            "scores": {} if value is None else {score.name: value},
        }

    return {
        **{name: first[name] for name in _SHARED if name in first},
        "headline": [asdict(score)],
        "student": whole("student"),
        "teacher": whole("teacher"),
        "retention": {score.name: ratio(means["student"], means["teacher"])},
        "compression": {"parameters": ratio(sizes["teacher"], sizes["student"])},
        "separate_students": {
            "num_parameters": sum(report["student"]["num_parameters"] for report in reports.values())
        },
        "tasks": {
            name: {
                "majority": {"scores": dict(guess.scores)} if (guess := majority[name]) is not None else None,
                **{part: value for part, value in report.items() if part not in _SHARED},
            }
            for name, report in reports.items()
        },
    }


def task_report(report: Mapping[str, Any], task: str) -> dict[str, Any]:
    """Return one task's report as if it were the only one."""
    return {**{name: report[name] for name in _SHARED if name in report}, **report["tasks"][task]}


def flatten_report(report: Mapping[str, Any]) -> dict[str, float]:
    """Return a report's figures for loggers: ``report/...``, and of each of several tasks ``<task>/report/...``."""
    if "tasks" not in report:
        return flatten_figures(report)
    flat = {
        name: value
        for task in report["tasks"]
        for name, value in flatten_figures(report["tasks"][task], f"{task}/report").items()
    }
    return flat | flatten_figures({"speedup": {}, **report})


def tasks_table(report: Mapping[str, Any], caption: str = "") -> Table:
    """Return the report of several tasks as a table: majority | teacher | student | ratio, a row for each score.

    The ratio is student / teacher for scores, teacher / student for times and parameters and for scores where lower is
    better: more is better in all.
    """
    table = Table(title="Teachers and student", caption=caption or None)
    table.add_column("")
    for column in ("majority", "teacher", "student", "ratio"):
        table.add_column(column, justify="right")
    for task, section in report["tasks"].items():
        for score in (Score(**entry) for entry in section["headline"]):
            sides = [((section[side] or {}).get("scores") or {}).get(score.name) for side in _SIDES]
            quotient = _ratio(sides[2], sides[1], score.higher_is_better)
            table.add_row(
                f"{task}: {score.label}", *(_cell(side, "{:.2f}") for side in sides), _cell(quotient, "{:.3f}")
            )
    table.add_section()
    for task, section in report["tasks"].items():
        mine, other = (((section[side] or {}).get("latency_ms") or {}).get("p50") for side in ("student", "teacher"))
        if mine is not None:
            point = section["benchmark"]
            cells = _cell(other, "{:.2f}"), _cell(mine, "{:.2f}"), _cell(ratio(other, mine), "{:.2f}x")
            table.add_row(f"{task}: p50, ms (batch {point['batch_size']} x {point['length']})", "", *cells)
    student, teacher = report["student"], report["teacher"] or {}
    shrunk = ratio(teacher.get("num_parameters"), student["num_parameters"])
    numbers = teacher.get("num_parameters"), student["num_parameters"]
    table.add_row("parameters, all tasks", "", *(_cell(number, "{:,}") for number in numbers), _cell(shrunk, "{:.2f}x"))
    separate = report["separate_students"]["num_parameters"]
    table.add_row("parameters of separate students", "", "", _cell(separate, "{:,}"), "")
    return table


_SIDES = ("majority", "teacher", "student")


def _ratio(student: float | None, teacher: float | None, higher_is_better: bool) -> float | None:
    return ratio(student, teacher) if higher_is_better else ratio(teacher, student)


def _cell(value: float | None, form: str) -> str:
    return "-" if value is None else form.format(value)
