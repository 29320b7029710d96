"""Questions to be answered, row by row from JSON lines, CSV and SQuAD JSON, with every wrong row said."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distill.answering.inputs import Item, read_item
from distill.tasks.question_answering.reading import load_json
from distill.tasks.question_answering.validation import require, require_text
from distill.tasks.rows import csv_field_limit
from distill.types import UserError

#: A document may be longer than the library's 128 KiB; the longest that it can be told.
_LONGEST_FIELD = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Row:
    """One question of a file; its identifier is the file's own, or else the number of its line."""

    question_id: str
    item: Item


@dataclass(frozen=True, slots=True)
class WrongRow:
    """A row that cannot be answered; the message says where it stands and what is wrong."""

    message: str


def read_rows(path: Path) -> Iterator[Row | WrongRow]:
    """Yield the rows of a file in order; JSON lines and CSV are read as they are needed, SQuAD JSON at once.

    - ``.jsonl``, ``.ndjson``: an object in every line with ``question``, ``context`` (text or a list of texts) and
      perhaps ``id``. Blank lines are passed over.
    - ``.csv``, ``.tsv``: a header that names ``question``, ``context`` and perhaps ``id``; split at the comma,
      semicolon or tab, whichever makes the header whole. Other columns are left alone.
    - ``.json``: SQuAD v1.1 or v2.0; answers are left alone.

    Raises:
        UserError: If the file cannot be read, or as a whole is not what its extension says.
    """
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise UserError(f"{path}: unknown kind of file: name one that ends in {', '.join(_READERS)}")
    try:
        yield from reader(path)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file: check the path") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None


def _json_lines(path: Path) -> Iterator[Row | WrongRow]:
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            where = f"line {number:,}"
            try:
                # A byte order mark can only open the file.
                raw = json.loads(line.decode("utf-8-sig" if number == 1 else "utf-8"))
                yield Row(_question_id(raw, number, where), read_item(raw, f"{where}: "))
            except UserError as error:
                yield WrongRow(str(error))
            except UnicodeDecodeError:
                yield WrongRow(f"{where}: not UTF-8")
            except RecursionError:
                yield WrongRow(f"{where}: JSON nested too deeply")
            except ValueError as error:
                yield WrongRow(f"{where}: malformed JSON: {error}")


def _separated(path: Path) -> Iterator[Row | WrongRow]:
    # What is not UTF-8 must not end the file: it is read as lone surrogates and found again in its row.
    with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        columns, delimiter = _columns(file.readline(), path)
        reader = csv.reader(file, delimiter=delimiter)
        while True:
            number = reader.line_num + 2  # the header is line 1, and a row may go over several
            try:
                with csv_field_limit(_LONGEST_FIELD):
                    values = next(reader, None)
                if values is None:
                    return
                if values:
                    yield _separated_row(columns, values, number)
            except csv.Error as error:
                yield WrongRow(f"line {number:,}: malformed CSV: {error}")
            except UserError as error:
                yield WrongRow(str(error))


def _columns(header: str, path: Path) -> tuple[list[str], str]:
    """Return the names in a header, and what separates them."""
    for delimiter in ",;\t":
        names = [name.strip().lower() for name in next(csv.reader([header], delimiter=delimiter), [])]
        if {"question", "context"} <= set(names):
            return names, delimiter
    raise UserError(f"{path}: line 1: the header must name question and context, and may name id")


def _separated_row(columns: list[str], values: list[str], number: int) -> Row:
    where = f"line {number:,}"
    if len(values) != len(columns):
        raise UserError(
            f"{where}: {len(values)} fields under {len(columns)} names: put texts with separators or line breaks "
            "into double quotes"
        )
    try:
        "".join(values).encode()
    except UnicodeEncodeError:
        raise UserError(f"{where}: not UTF-8") from None
    raw = dict(zip(columns, values, strict=True))
    return Row(raw.get("id", "").strip() or str(number), read_item(raw, f"{where}: "))


def _squad(path: Path) -> Iterator[Row | WrongRow]:
    for index, article in enumerate(require(load_json(path, str(path)), "data", list, str(path))):
        where = f"article {index}"
        try:
            paragraphs = require(article, "paragraphs", list, where)
        except UserError as error:
            yield WrongRow(str(error))
            continue
        for paragraph_index, paragraph in enumerate(paragraphs):
            yield from _squad_paragraph(paragraph, f"{where}: paragraph {paragraph_index}")


def _squad_paragraph(paragraph: Any, where: str) -> Iterator[Row | WrongRow]:
    try:
        context = require_text(paragraph, "context", where)
        questions = require(paragraph, "qas", list, where)
    except UserError as error:
        yield WrongRow(str(error))
        return
    for index, raw in enumerate(questions):
        place = f"{where}: question {index}"
        try:
            question_id = require_text(raw, "id", place)
            place = f"{where}: question {question_id!r}"
            yield Row(question_id, Item(require_text(raw, "question", place), (context,)))
        except UserError as error:
            yield WrongRow(str(error))


def _question_id(raw: Any, number: int, where: str) -> str:
    question_id = raw.get("id") if isinstance(raw, dict) else None
    if question_id is None:
        return str(number)
    if isinstance(question_id, bool) or not isinstance(question_id, str | int):
        raise UserError(f"{where}: 'id' must be text or a whole number")
    return str(question_id)


_READERS: dict[str, Callable[[Path], Iterator[Row | WrongRow]]] = {
    ".jsonl": _json_lines,
    ".ndjson": _json_lines,
    ".csv": _separated,
    ".tsv": _separated,
    ".json": _squad,
}
