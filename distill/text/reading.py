"""Documents from plain text and JSON lines, as a stream whose memory does not grow with the files."""

from __future__ import annotations

import codecs
import io
import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

from distill.text.files import is_json_lines, open_bytes
from distill.text.report import TextReport
from distill.types import UserError

#: What ends a document in a plain text file: two or more blank lines, every line end, or the end of the file.
Separator = Literal["blank_lines", "line", "file"]

#: Characters of a document at most; longer ones are cut, at white space where there is any, into several documents.
MAX_DOCUMENT_CHARS = 1 << 20
#: Characters of a JSON line at most; one has to be held whole to be understood.
MAX_JSON_CHARS = 1 << 28

_LONE_SURROGATE = re.compile("[\ud800-\udfff]")


def read_documents(
    files: Sequence[Path],
    report: TextReport,
    text_field: str = "text",
    separator: Separator = "blank_lines",
    strict: bool = False,
) -> Iterator[str]:
    r"""Yield the documents of text files in order, without the white space around them, never empty.

    A file ending in ``.jsonl`` (and ``.gz`` or ``.zst``) holds one JSON object a line, whose ``text_field`` is a
    document; any other is plain text, split at ``separator``. All line ends are read as ``\n``, and a byte order mark
    is skipped. Bytes that are not UTF-8 become U+FFFD, one each, and are counted by file.

    Args:
        files: What to read.
        report: Collects the counts.
        text_field: Name of the text in JSON lines.
        separator: What ends a document in plain text; a line of white space alone is blank.
        strict: Whether a single byte that is not UTF-8 is an error.

    Raises:
        UserError: If a file cannot be read, is malformed or in UTF-16 or UTF-32, or has bytes but no text; or if no
            file has any text.
    """
    for path in files:
        yield from read_file(path, report, text_field, separator, strict)
    if not report.documents:
        raise UserError(f"{', '.join(map(str, files))}: empty: give at least one file with text")


def read_file(
    path: Path,
    report: TextReport,
    text_field: str = "text",
    separator: Separator = "blank_lines",
    strict: bool = False,
) -> Iterator[str]:
    """Yield the documents of one file as :func:`read_documents` does, none where it is empty."""
    before = report.documents
    report.files += 1
    with open_bytes(path) as stream:
        if not (head := stream.peek(1)):
            report.empty_files.append(str(path))
            return
        _check_encoding(head, path)
        # Bytes that are not UTF-8 pass as lone surrogates, which UTF-8 never holds, and are counted afterwards.
        lines = io.TextIOWrapper(stream, encoding="utf-8-sig", errors="surrogateescape")
        is_json = is_json_lines(path)
        raw = _json_texts(lines, path, text_field, report) if is_json else _plain_texts(lines, separator, report)
        for text in raw:
            document = _without_surrogates(text, path, report, strict).strip()
            if document:
                report.documents += 1
                report.characters += len(document)
                yield document
    if report.documents == before:
        raise UserError(f"{path}: no text in it: leave the file out, or check its form")


def cut_document(text: str, report: TextReport) -> Iterator[str]:
    """Yield ``text`` in pieces of ``MAX_DOCUMENT_CHARS`` at most, cut behind white space where there is any."""
    while len(text) > MAX_DOCUMENT_CHARS:
        report.cuts += 1
        head = text[:MAX_DOCUMENT_CHARS]
        # Without white space, as in a line of base64, any place is as good as another.
        end = max(head.rfind(" "), head.rfind("\n")) + 1 or MAX_DOCUMENT_CHARS
        yield text[:end]
        text = text[end:]
    yield text


def _check_encoding(head: bytes, path: Path) -> None:
    """Refuse two or four bytes a letter: nearly all of them are UTF-8 too, so that little of it would be counted."""
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or head.count(0) > len(head) / 4:
        raise UserError(f"{path}: looks like UTF-16 or UTF-32, or no text at all: convert it to UTF-8")


def _plain_texts(lines: io.TextIOWrapper, separator: Separator, report: TextReport) -> Iterator[str]:
    """Yield documents as they stand, cut to size; at most a document and a line of that size are held."""
    held: list[str] = []
    num_held = num_blank = 0
    while line := lines.readline(MAX_DOCUMENT_CHARS):
        is_blank = line.isspace()
        ends_document = num_blank >= 2 and not is_blank if separator == "blank_lines" else separator == "line"
        num_blank = num_blank + 1 if is_blank else 0
        if ends_document and held and held[-1].endswith("\n"):
            yield "".join(held)
            held, num_held = [], 0
        held.append(line)
        num_held += len(line)
        if num_held > MAX_DOCUMENT_CHARS:
            *complete, rest = cut_document("".join(held), report)
            yield from complete
            held, num_held = [rest], len(rest)
    yield "".join(held)


def _json_texts(lines: io.TextIOWrapper, path: Path, text_field: str, report: TextReport) -> Iterator[str]:
    for number, line in enumerate(iter(lambda: lines.readline(MAX_JSON_CHARS), ""), start=1):
        where = f"{path}: line {number:,}"
        if len(line) == MAX_JSON_CHARS:
            raise UserError(f"{where} has more than {MAX_JSON_CHARS:,} characters: split its text over several lines")
        if line.isspace():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise UserError(f"{where}: malformed JSON: {error}") from None
        yield from cut_document(text_of_row(row, text_field, where, report), report)


def text_of_row(row: Any, text_field: str, where: str, report: TextReport) -> str:
    """Return the text of a row, empty and counted where it is null or white space.

    Raises:
        UserError: If the row is no mapping, or has no such field, or the field holds no text.
    """
    if not isinstance(row, dict):
        raise UserError(f"{where}: an object with the field {text_field!r} was expected, not {type(row).__name__}")
    if text_field not in row:
        raise UserError(f"{where}: no field {text_field!r} among {', '.join(map(repr, row))}; set text_field")
    text = row[text_field]
    if text is None or (isinstance(text, str) and not text.strip()):
        report.empty_documents += 1
        return ""
    if not isinstance(text, str):
        raise UserError(f"{where}: {text_field!r} holds {type(text).__name__}, not text; set text_field")
    return text


def _without_surrogates(text: str, path: Path, report: TextReport, strict: bool) -> str:
    try:
        text.encode()  # far faster than looking for them
    except UnicodeEncodeError:
        text, count = _LONE_SURROGATE.subn("\N{REPLACEMENT CHARACTER}", text)
        if strict:
            raise UserError(f"{path}: {count:,} bytes of a document are not UTF-8: convert the file") from None
        report.invalid_bytes[str(path)] = report.invalid_bytes.get(str(path), 0) + count
    return text
