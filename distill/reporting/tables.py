"""The result of a run as tables of numbers, for tools that draw their own pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from distill.reporting.models import Contender, contenders, is_percentage
from distill.reporting.run import Run


@dataclass(frozen=True)
class DataTable:
    """Rows under named columns; the unit of a number is part of its column's name."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]

    def column(self, name: str) -> list[Any]:
        """Return all values of a column."""
        return [row[self.columns.index(name)] for row in self.rows]


def result_tables(run: Run) -> dict[str, DataTable]:
    """Return the run's tables by name: ``models``, ``latency`` and one for each breakdown, as far as they have rows.

    Scores in percent are in columns such as ``f1_percent``, times in ``p50_ms``, sizes in ``size_mb``.
    """
    tables = {"models": _models(run), "latency": _latency(run)}
    for name, groups in (run.report.get("breakdowns") or {}).items():
        tables[name.replace(" ", "_")] = _breakdown(name, groups)
    return {name: table for name, table in tables.items() if table.rows}


def score_column(score: str) -> str:
    """Return the column name of a score.

    Example:
        >>> score_column("has_answer/f1"), score_column("perplexity")
        ('has_answer/f1_percent', 'perplexity')
    """
    return f"{score}_percent" if is_percentage(score) else score


def _models(run: Run) -> DataTable:
    scores = [score["name"] for score in run.headline]

    def row(model: Contender) -> tuple[Any, ...]:
        megabytes = None if model.size_bytes is None else model.size_bytes / 1e6
        timings = (model.p50_ms, model.p95_ms, model.windows_per_second)
        return (model.name, *(model.scores.get(score) for score in scores), megabytes, *timings)

    columns = ("model", *map(score_column, scores), "size_mb", "p50_ms", "p95_ms", "windows_per_second")
    return DataTable(columns, tuple(row(model) for model in contenders(run)))


def _latency(run: Run) -> DataTable:
    columns = ("model", "batch_size", "length", "p50_ms", "p95_ms", "windows_per_second")
    rows = run.latency.get("rows") or []
    return DataTable(columns, tuple(tuple(row[name] for name in columns) for row in rows))


def _breakdown(name: str, groups: Sequence[dict[str, Any]]) -> DataTable:
    models = [model for model in ("student", "teacher") if groups and groups[0][model]]
    scores = list(groups[0]["student"]) if models else []
    columns = [f"{model}/{score_column(score)}" for model in models for score in scores]
    rows = [
        (group["group"], group["num_items"], *(group[model][score] for model in models for score in scores))
        for group in groups
    ]
    return DataTable((name.replace(" ", "_"), "num_items", *columns), tuple(rows))
