"""A sweep to look at: a picture of quality against latency, and a table of its trials."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.table import Table

from distill.files import write_text
from distill.reporting.charts.markup import Element, element
from distill.reporting.charts.scatter import Mark, scatter_chart
from distill.reporting.models import score_axis
from distill.reporting.page.document import document, standalone
from distill.reporting.page.html import figure, grid, section, table
from distill.sweeps.result import STATES, Result, trials_csv

#: Beginnings of settings that say nothing in a table of settings.
_PREFIXES = ("schedule.stages.", "model.init_args.", "data.init_args.")


def write_files(folder: Path, result: Result) -> None:
    """Write ``sweep.html``, ``trials.csv`` and, once a trial is complete, ``pareto.svg``."""
    write_text(folder / "trials.csv", trials_csv(result))
    chart = pareto_chart(result)
    if chart is not None:
        write_text(folder / "pareto.svg", standalone(chart))
    write_text(folder / "sweep.html", document(f"distill: sweep {result.sweep.name}", sweep_page(result)))


def pareto_chart(result: Result) -> Element | None:
    """Return score against latency of the complete trials and the teacher; None without a complete trial."""
    if not result.complete:
        return None
    marks = [
        Mark(
            latency_ms,
            score,
            str(row.number) if row.is_on_front else "",
            "student" if row.is_on_front else "c5",
            detail=f"trial {row.number}: {result.label} {score:.2f}, {latency_ms:.3g} ms",
        )
        for row, score, latency_ms in result.complete
    ]
    if result.teacher is not None:
        score, latency_ms = result.teacher
        marks.append(Mark(latency_ms, score, "teacher", "teacher", "diamond"))
    places = [(latency_ms, score) for row, score, latency_ms in result.complete if row.is_on_front]
    title = f"{result.label} against latency"
    return scatter_chart(title, "p50 of a call, ms", score_axis(result.sweep.score, result.label), marks, places)


def sweep_page(result: Result) -> Element:
    """Return the page of a sweep: the picture, each number setting against the score, and the table."""
    chart = pareto_chart(result)
    note = "Numbers: trials that no other one beats in both; grey: the others."
    pictures = [figure(f"{result.label} against latency", chart, note)] if chart is not None else []
    header, rows = _table(result)
    return element(
        "main",
        element("header", element("h1", f"Sweep {result.sweep.name}"), element("p", _summary(result), class_="note")),
        section("Result", grid(pictures, "figures")),
        section("Settings", grid(_setting_figures(result), "figures")),
        section("Trials", table(header, rows)),
    )


def trials_table(result: Result) -> Table:
    """Return the trials as a table for the terminal; those on the front in bold."""
    header, rows = _table(result)
    made = Table(title=f"Sweep {result.sweep.name}", caption="*: no other trial is better in both score and latency")
    for name in header:
        made.add_column(name, justify="right")
    for row, cells in zip(result.rows, rows, strict=True):
        made.add_row(*cells, style="bold" if row.is_on_front else None)
    return made


def _setting_figures(result: Result) -> list[Element]:
    """Return the score against each setting that is a number and was varied."""
    made = []
    for parameter in result.sweep.parameters:
        values = [row.settings.get(parameter.name) for row, _, _ in result.complete]
        numbers = [float(value) for value in values if isinstance(value, int | float)]
        if len(numbers) < len(values) or len(set(numbers)) < 2:
            continue
        marks = [
            Mark(number, score, "", "student", detail=f"trial {row.number}: {row.settings[parameter.name]}")
            for number, (row, score, _) in zip(numbers, result.complete, strict=True)
        ]
        name = short_name(parameter.name)
        chart = scatter_chart(name, name, score_axis(result.sweep.score, result.label), marks)
        made.append(figure(f"{result.label} by {name}", chart))
    return made


def short_name(setting: str) -> str:
    """Return a setting's key without a beginning that is the same for all of its kind.

    Example:
        >>> short_name("schedule.stages.logits.temperature")
        'logits.temperature'
    """
    return next((setting.removeprefix(prefix) for prefix in _PREFIXES if setting.startswith(prefix)), setting)


def _table(result: Result) -> tuple[list[str], list[list[str]]]:
    names = [parameter.name for parameter in result.sweep.parameters]
    header = ["trial", "state", result.label, "p50, ms", *map(short_name, names), "note"]
    rows = [
        [
            f"{row.number}{'*' if row.is_on_front else ''}",
            row.state,
            _number(row.score if row.score is not None else row.last_score),
            _number(row.latency_ms),
            *(_value(row.settings.get(name, "")) for name in names),
            row.message,
        ]
        for row in result.rows
    ]
    return header, rows


def _summary(result: Result) -> str:
    counts = {state: sum(row.state == state for row in result.rows) for state in STATES.values()}
    return " · ".join(f"{count} {state}" for state, count in counts.items() if count)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _value(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
