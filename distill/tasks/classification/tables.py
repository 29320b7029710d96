"""Rows of tables in text files, and where each begins."""

from __future__ import annotations

import csv
from pathlib import Path

from distill.tasks.rows import csv_field_limit, read_lines
from distill.types import UserError


def table_rows(path: Path) -> list[tuple[int, list[str]]]:
    """Return the first line and the cells of every row of a table, blank rows left out.

    The cells of ``.csv`` are parted by commas and may stand in double quotes, over several lines too; those of other
    files are parted by tabs, with nothing quoted.

    Raises:
        UserError: If the file cannot be read or a quote is out of place; the message names the row's first line.
    """
    is_quoted = path.suffix == ".csv"
    lines = read_lines(path, may_hold_returns=is_quoted)
    rows = _quoted_rows(path, lines) if is_quoted else [(n, line.split("\t")) for n, line in enumerate(lines, start=1)]
    return [(number, cells) for number, cells in rows if len(cells) > 1 or any(cell.strip() for cell in cells)]


def _quoted_rows(path: Path, lines: list[str]) -> list[tuple[int, list[str]]]:
    rows: list[tuple[int, list[str]]] = []
    first_line = 1
    reader = csv.reader((line + "\n" for line in lines), strict=True)
    try:
        # No text is longer than its file.
        with csv_field_limit(sum(len(line) + 1 for line in lines)):
            for cells in reader:
                rows.append((first_line, cells))
                first_line = reader.line_num + 1
    except csv.Error as error:
        # The reader stops where it first makes no sense, which may be the end of the file.
        raise UserError(
            f"{path}: line {first_line}: malformed CSV in the row that begins here: {error}: close its quotes, double "
            "those inside a text, and end lines in \\n or \\r\\n"
        ) from None
    return rows
