"""What was gained in a sentence and a table, and what it was gained with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.table import Table

from distill.reporting.charts.markup import Element, element
from distill.reporting.comparison import comparison_table
from distill.reporting.multitask import tasks_table
from distill.reporting.page.html import details, facts, table
from distill.reporting.run import Run

#: Settings of a stage that every stage has a column for.
_STAGE_COLUMNS = {
    "name": "stage",
    "start_step": "first step",
    "num_steps": "steps",
    "temperature": "temperature",
    "learning_rate": "learning rate",
    "warmup": "warm-up",
    "decay": "decay",
}


def tiles(run: Run) -> Element | None:
    """Return the three figures that matter most, large: quality kept, times faster, times smaller."""
    report, score = run.report, run.main_score
    mine = run.scores("student").get(score["name"])
    kept = (report.get("retention") or {}).get(score["name"])
    speedup = (report.get("speedup") or {}).get("p50")
    smaller = (report.get("compression") or {}).get("parameters")
    entries = [
        (f"{score['label']} of the student", None if mine is None else f"{mine:.1f}"),
        (f"of the teacher's {score['label']} kept", None if kept is None else f"{100 * kept:.1f} %"),
        ("faster at p50", None if speedup is None else f"{speedup:.1f}×"),
        ("fewer parameters", None if smaller is None else f"{smaller:.1f}×"),
    ]
    made = [
        element("div", element("strong", value), element("span", label), class_="tile")
        for label, value in entries
        if value is not None
    ]
    return element("div", *made, class_="tiles") if made else None


def comparison(run: Run) -> Element | None:
    """Return the table that the run printed: teacher, student and their ratio."""
    if not run.report.get("student"):
        return None
    return _as_printed(comparison_table({"headline": run.headline, **run.report}))


def tasks_comparison(run: Run) -> Element:
    """Return the table that a run of several tasks printed: majority, teacher, student and ratio."""
    return _as_printed(tasks_table(run.report))


def _as_printed(printed: Table) -> Element:
    rows = zip(*(column.cells for column in printed.columns), strict=True)
    header = [str(column.header) for column in printed.columns]
    return table(header, [[str(cell) for cell in row] for row in rows], class_="comparison")


def origin(run: Run) -> list[Element]:
    """Return how the run came about: stages, data, machine and configuration."""
    blocks = []
    if stages := run.report.get("stages"):
        rows = [[*(_cell(stage[name]) for name in _STAGE_COLUMNS), _weights(stage["weights"])] for stage in stages]
        blocks.append(details("Stages", table([*_STAGE_COLUMNS.values(), "weights"], rows)))
    if data := run.report.get("data"):
        blocks.append(details("Data", facts(_flatten(data))))
    if throughput := run.report.get("throughput"):
        blocks.append(details("Throughput", facts(_flatten(throughput))))
    if environment := run.report.get("environment"):
        blocks.append(details("Environment", facts(environment)))
    if checkpoints := run.report.get("checkpoints"):
        best = checkpoints["best"]
        pairs = {"rule": checkpoints["rule"], "checkpoint": best["path"], "step": f"{best['step']:,}"}
        blocks.append(details("Choice of the result", facts(pairs)))
    if run.config:
        blocks.append(details("Configuration", element("pre", run.config)))
    return blocks


def _flatten(value: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Return nested mappings as one, with names such as ``train: windows``."""
    flat: dict[str, str] = {}
    for name, item in value.items():
        if isinstance(item, Mapping):
            flat |= _flatten(item, f"{prefix}{name}: ")
        elif item is not None:
            flat[f"{prefix}{name.replace('_', ' ')}"] = _cell(item)
    return flat


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:,.4g}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _weights(weights: Mapping[str, float]) -> str:
    return ", ".join(f"{term} × {weight:g}" for term, weight in weights.items())
