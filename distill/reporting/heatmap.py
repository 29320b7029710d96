"""A matrix as a picture: SVG, which every browser shows, without a drawing library."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from html import escape

#: The side of a cell, and room for labels and title, in pixels.
_CELL, _MARGIN, _HEAD = 34, 64, 56


def heatmap_svg(
    matrix: Sequence[Sequence[float]],
    title: str,
    row_label: str,
    column_label: str,
    marked: Collection[tuple[int, int]] = (),
) -> str:
    """Return a picture of a matrix: darker is more, each cell with its number, some of them framed.

    Rows and columns are numbered from 0. Values are expected from 0 to 1; others are drawn like the nearer end.

    Args:
        matrix: Rows of equally many values.
        title: What stands above.
        row_label: What a row is.
        column_label: What a column is.
        marked: Cells (row, column) to frame.
    """
    num_columns = max((len(row) for row in matrix), default=0)
    width = max(_MARGIN + num_columns * _CELL + 12, 12 + 7 * len(title))
    height = _HEAD + len(matrix) * _CELL + 12
    cells = [
        _cell(row_index, column_index, value, (row_index, column_index) in marked)
        for row_index, row in enumerate(matrix)
        for column_index, value in enumerate(row)
    ]
    columns = [_text(_MARGIN + (i + 0.5) * _CELL, _HEAD - 8, str(i)) for i in range(num_columns)]
    rows = [_text(_MARGIN - 12, _HEAD + (i + 0.5) * _CELL + 4, str(i)) for i in range(len(matrix))]
    labels = [
        _text(8, 18, title, anchor="start", weight="bold"),
        _text(_MARGIN, 34, column_label, anchor="start"),
        _text(8, _HEAD - 8, row_label, anchor="start"),
    ]
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" font-family="sans-serif">',
            f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
            *labels,
            *columns,
            *rows,
            *cells,
            "</svg>\n",
        ]
    )


def _cell(row: int, column: int, value: float, is_marked: bool) -> str:
    x, y = _MARGIN + column * _CELL, _HEAD + row * _CELL
    shade = min(1.0, max(0.0, value))
    red, green, blue = (round(start + shade * (end - start)) for start, end in ((247, 8), (251, 48), (255, 107)))
    frame = ' stroke="#d94801" stroke-width="3"' if is_marked else ' stroke="#ffffff" stroke-width="1"'
    inset = 2 if is_marked else 0  # a neighbour drawn later would cover half of the frame
    return (
        f'<rect x="{x + inset}" y="{y + inset}" width="{_CELL - 2 * inset}" height="{_CELL - 2 * inset}" '
        f'fill="#{red:02x}{green:02x}{blue:02x}"{frame}/>'
        + _text(x + _CELL / 2, y + _CELL / 2 + 4, f"{value:.2f}", colour="#ffffff" if shade > 0.5 else "#222222")
    )


def _text(
    x: float, y: float, text: str, anchor: str = "middle", weight: str = "normal", colour: str = "#222222"
) -> str:
    return (
        f'<text x="{x:g}" y="{y:g}" font-size="11" text-anchor="{anchor}" font-weight="{weight}" fill="{colour}">'
        f"{escape(text)}</text>"
    )
