"""The table that an export ends with: what is not good enough is in red."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.table import Table


def export_table(export: Mapping[str, Any]) -> Table:
    """Return one row for each format: scores, latency at the point of comparison, size, what speaks against it.

    Args:
        export: The content of ``export.json``.
    """
    point = export["reference"]
    caption = f"Speed against float32 torch, in turns on this machine, batch {point['batch_size']} x {point['length']}"
    table = Table(title="Export", caption=caption)
    for column in ("", "EM", "F1", "p50, ms", "speed-up", "MB"):
        table.add_column(column, justify="right" if column else "left")
    table.add_column("verdict")
    reference = export["formats"]["torch"]["latency"][0]["p50_ms"]
    for name, form in export["formats"].items():
        p50_ms = form["latency"][0]["p50_ms"]
        table.add_row(
            name,
            f"{form['exact_match']:.2f}",
            f"{form['f1']:.2f}",
            f"{p50_ms:.2f}",
            f"{reference / p50_ms:.2f}x",
            f"{form['size_bytes'] / 1e6:.2f}",
            "; ".join(form["problems"]) or "good",
            style="red" if form["problems"] else None,
        )
    return table
