"""Charts of a matrix: a cell for each entry, the deeper its colour the larger the value."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from math import ceil

from distill.reporting.charts.frame import WIDTH, drawing, text
from distill.reporting.charts.labels import FONT_SIZE, text_width
from distill.reporting.charts.markup import Element, element

#: The side of a cell, at most; between rows' numbers and cells.
_CELL, _GAP = 34.0, 8.0


def heatmap(
    title: str,
    row_label: str,
    column_label: str,
    matrix: Sequence[Sequence[float]],
    marked: Collection[tuple[int, int]] = (),
) -> Element:
    """Draw a matrix: deeper is more, each cell with its number where it fits, some of them framed.

    Rows and columns are numbered from 0. Values are expected from 0 to 1; others are drawn like the nearer end.

    Args:
        title: What the chart shows, in words.
        row_label: What a row is.
        column_label: What a column is.
        matrix: Rows of equally many values.
        marked: Cells (row, column) to frame.
    """
    num_columns = max((len(row) for row in matrix), default=0)
    left, top = text_width(str(len(matrix))) + _GAP, 2 * FONT_SIZE + 14
    side = min(_CELL, (WIDTH - left - 2) / max(1, num_columns))
    # Frames last: a neighbour drawn later would cover half of one.
    cells = sorted(
        ((row, column) in marked, row, column, value)
        for row, values in enumerate(matrix)
        for column, value in enumerate(values)
    )
    parts = [text(f"rows: {row_label}; columns: {column_label}", 0.0, FONT_SIZE, class_="axis-label")]
    every = ceil((text_width(str(num_columns)) + 4) / side)
    parts += [
        text(str(column), left + (column + 0.5) * side, top - 6, "middle") for column in range(0, num_columns, every)
    ]
    parts += [
        text(str(row), left - _GAP, top + (row + 0.5) * side + FONT_SIZE * 0.35, "end") for row in range(len(matrix))
    ]
    for is_marked, row, column, value in cells:
        x, y = left + column * side, top + row * side
        parts.append(
            element(
                "rect",
                element("title", f"{row_label} {row}, {column_label} {column}: {value:.3f}"),
                x=x,
                y=y,
                width=side,
                height=side,
                fill_opacity=min(1.0, max(0.0, value)),
                class_="cell marked" if is_marked else "cell",
            )
        )
        if text_width("0.00") <= side:
            place = x + side / 2, y + side / 2 + FONT_SIZE * 0.35
            parts.append(text(f"{value:.2f}", *place, "middle", "cell-value"))
    return drawing(title, *parts, height=top + len(matrix) * side + 2)
