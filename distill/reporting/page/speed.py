"""Figures of speed: quality against latency, and latency over the length of the input."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from distill.reporting.charts.lines import Series, line_chart
from distill.reporting.charts.markup import Element, element
from distill.reporting.charts.scatter import Mark, scatter_chart
from distill.reporting.models import FLOAT32, comparable, contenders, score_axis
from distill.reporting.page.html import captioned, details, figure, table
from distill.reporting.pareto import pareto_front
from distill.reporting.run import Run

_MODELS = ("student", "teacher")
_SHAPES = {"student": "circle", "teacher": "diamond", "export": "square"}


def pareto_figure(run: Run) -> Element | None:
    """Return quality against latency of teacher, student and exported formats; nothing without two such points."""
    score = run.main_score
    name, label = score["name"], score["label"]
    timed = comparable(run, [model for model in contenders(run) if name in model.scores])
    if len(timed) < 2:
        return None
    marks = [
        Mark(
            p50_ms,
            model.scores[name],
            model.name,
            model.role,
            _SHAPES[model.role],
            f"{model.name}: {label} {model.scores[name]:.2f}, {p50_ms:.3g} ms",
        )
        for model, p50_ms in timed
    ]
    sign = 1 if score["higher_is_better"] else -1
    front = pareto_front([mark.x for mark in marks], [sign * mark.y for mark in marks])
    title = f"{label} against latency"
    places = [(marks[index].x, marks[index].y) for index in front]
    chart = scatter_chart(title, "p50 of a call, ms", score_axis(name, label), marks, places)
    note = f"{_conditions(run)} Better is {'up' if sign > 0 else 'down'} and to the left."
    if any(model.role == "export" for model, _ in timed):
        placed = "placed by their speed in turns with the student's weights"
        is_placed = all(model.name != FLOAT32 for model, _ in timed)
        note += f" Squares: exported formats, {placed if is_placed else 'timed in a sitting of their own'}."
    return figure(title, chart, note)


def format_table(run: Run) -> Element | None:
    """Return the formats that the student was exported to, with what speaks against each; nothing without an export."""
    label, name = run.main_score["label"], run.main_score["name"]
    models = [model for model in contenders(run) if model.role == "export"]
    if not models:
        return None
    rows = [
        (
            model.name,
            f"{model.scores[name]:.2f}" if name in model.scores else "-",
            f"{model.p50_ms:.2f}" if model.p50_ms is not None else "-",
            f"{model.size_bytes / 1e6:.2f}" if model.size_bytes is not None else "-",
            element("span", "; ".join(model.problems), class_="bad") if model.problems else "none",
        )
        for model in models
    ]
    return captioned("Exported formats", table(("", label, "p50, ms", "MB", "problems"), rows))


def latency_figures(run: Run) -> list[Element]:
    """Return latency over length for each batch size, over batch size where one length was timed; and the grid."""
    rows = run.latency.get("rows") or []
    if not rows:
        return []
    lengths, batch_sizes = _values(rows, "length"), _values(rows, "batch_size")
    along, fixed = ("length", "batch_size") if len(lengths) > 1 or len(batch_sizes) == 1 else ("batch_size", "length")
    axis = {"length": "tokens in a window", "batch_size": "windows in a call"}[along]
    made = []
    for value in _values(rows, fixed):
        title = f"Latency, batch {value}" if fixed == "batch_size" else f"Latency, {value} tokens"
        here = [row for row in rows if row[fixed] == value]
        series = [
            _latency_series(model, along, sorted((r for r in here if r["model"] == model), key=lambda r: r[along]))
            for model in _MODELS
        ]
        chart = line_chart(title, axis, "ms", series, x_ticks=_values(here, along), from_zero=True)
        made.append(figure(title, chart, "Line: p50 of a call; band: up to its p95."))
    made[-1].append(details("All timings", _grid(rows)))
    return made


def _latency_series(model: str, along: str, rows: Sequence[Mapping[str, Any]]) -> Series:
    return Series(
        model,
        [(row[along], row["p50_ms"]) for row in rows],
        model,
        band=[(row["p50_ms"], row["p95_ms"]) for row in rows],
        marks=True,
    )


def _grid(rows: Sequence[Mapping[str, Any]]) -> Element:
    header = ("model", "batch", "tokens", "p50, ms", "p95, ms", "windows/s")
    cells = [
        (
            row["model"],
            str(row["batch_size"]),
            str(row["length"]),
            f"{row['p50_ms']:.2f}",
            f"{row['p95_ms']:.2f}",
            f"{row['windows_per_second']:,.1f}",
        )
        for row in rows
    ]
    return table(header, cells)


def _conditions(run: Run) -> str:
    point = run.report.get("benchmark") or {}
    if not point:
        return ""
    threads = f"{point['num_threads']} thread{'s' if point['num_threads'] != 1 else ''}"
    return f"Batch {point['batch_size']} × {point['length']} tokens, {point['dtype']}, {point['device']}, {threads}."


def _values(rows: Iterable[Mapping[str, Any]], name: str) -> list[int]:
    return sorted({row[name] for row in rows})
