"""Labelled texts and pairs from CSV, TSV, JSON lines and hub sets."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distill.tasks.classification.examples import LabelledText
from distill.tasks.classification.tables import table_rows
from distill.tasks.rows import (
    check_any_label,
    check_text,
    class_name,
    class_names,
    hub_source,
    json_rows,
    listed,
    load_rows,
    shown,
    unknown_label,
)
from distill.types import UserError

_FILE_SUFFIXES = (".tsv", ".csv", ".jsonl")


@dataclass(frozen=True)
class TextColumns:
    """Where texts and labels stand: names of columns or keys.

    Attributes:
        text: The text, or the first of a pair.
        pair: The second of a pair; None for single texts.
        label: The label.
        header: Names of the columns of files without a line that names them; their first line is then an example.
    """

    text: str = "sentence1"
    pair: str | None = "sentence2"
    label: str = "label"
    header: tuple[str, ...] | None = None

    @property
    def texts(self) -> tuple[str, ...]:
        """The names of the one or two columns of text."""
        return (self.text,) if self.pair is None else (self.text, self.pair)


class TextReader:
    """Reads labelled texts under one policy: what is wrong is an error that names file and line.

    The name of a file decides its form: ``.tsv`` is parted by tabs with nothing quoted, ``.jsonl`` is JSON lines,
    ``.csv`` parted by commas, with texts in double quotes where they need it. The first line of ``.tsv`` and ``.csv``
    names the columns unless ``columns.header`` does. Labels may be texts or whole numbers.

    Args:
        labels: The labels that may occur.
        columns: Where texts and labels stand.
        require_labels: Whether texts must have a label; else none are read.
    """

    def __init__(self, labels: Sequence[str], columns: TextColumns, require_labels: bool = True) -> None:
        self.labels = tuple(labels)
        self.columns = columns
        self.require_labels = require_labels
        self.counts: Counter[str] = Counter()

    def read(self, files: Sequence[str | Path]) -> list[LabelledText]:
        """Return the examples of files, and folders of them, in order.

        Raises:
            UserError: If a file cannot be read, is malformed, holds an unknown label, or holds no example.
        """
        examples: list[LabelledText] = []
        for path, name in listed(files, _FILE_SUFFIXES).items():
            rows = json_rows(path) if path.suffix == ".jsonl" else self._table_rows(path)
            found = [self._example(f"{path}: line {number}", f"{name}:{number}", row) for number, row in rows]
            if not found:
                raise UserError(f"{path}: no examples: is this the right file?")
            self.counts["files"] += 1
            examples += found
        return examples

    def read_hub(self, name: str, config: str | None, split: str) -> list[LabelledText]:
        """Return the examples of a hub set; rows whose class is unknown, -1 or null, are dropped and counted.

        Raises:
            UserError: If it cannot be reached, lacks a column, a row is wrong, or no row has a label.
        """
        source = hub_source(name, config, split)
        rows = load_rows(name, config, split)
        self._check_columns(rows.column_names, source)
        names = class_names(rows.features[self.columns.label]) if self.require_labels else None
        self.counts["files"] += 1
        examples = []
        for index, row in enumerate(rows):
            where = f"{source}: row {index}"
            if names is not None:
                row = {**row, self.columns.label: class_name(row[self.columns.label], names, where)}
                if row[self.columns.label] is None:
                    self.counts["dropped_without_label"] += 1
                    continue
            examples.append(self._example(where, f"{split}:{index}", row))
        check_any_label(len(examples), len(rows), source)
        return examples

    def _table_rows(self, path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
        """Yield the line and the cells by name of every row of a file in columns; blank lines are passed over."""
        header = self.columns.header
        if header is not None:
            self._check_header(header, f"{path}: columns.header")
        for number, cells in table_rows(path):
            where = f"{path}: line {number}"
            if header is None:
                header = tuple(cells)
                self._check_header(header, where)
                continue
            if len(cells) != len(header):
                raise UserError(
                    f"{where}: {len(cells)} columns, the header has {len(header)}: is a separator missing or inside a "
                    "text?"
                )
            yield number, dict(zip(header, cells, strict=True))

    def _check_header(self, names: Sequence[str], where: str) -> None:
        """Check that a table's columns differ in their names and hold what is looked for."""
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise UserError(f"{where}: two columns are called {shown(twice)}: give each a name of its own")
        self._check_columns(names, where)

    def _check_columns(self, names: Sequence[str], where: str) -> None:
        """Check that columns have the names that are looked for."""
        needed = [*self.columns.texts, *([self.columns.label] if self.require_labels else [])]
        missing = [name for name in needed if name not in names]
        if missing:
            found = ", ".join(shown(name) for name in names)
            raise UserError(
                f"{where}: no column {', '.join(map(repr, missing))}, it has {found}:"
                " add a header, or name the columns in the task's columns (columns.header for a file without one)"
            )

    def _example(self, where: str, text_id: str, row: Mapping[str, Any]) -> LabelledText:
        for name in self.columns.texts:
            if name not in row:
                raise UserError(f"{where}: no {name!r}; it has {', '.join(map(repr, row))}")
            if not isinstance(row[name], str):
                raise UserError(f"{where}: {name!r} must be text, got {shown(row[name])}")
            if not row[name].strip():
                raise UserError(f"{where}: {name!r} is empty: give it text or remove the line")
            check_text(row[name], repr(name), where)
        label = self._label(where, row) if self.require_labels else None
        self.counts["examples"] += 1
        pair = None if self.columns.pair is None else row[self.columns.pair]
        return LabelledText(text_id, row[self.columns.text], pair, label)

    def _label(self, where: str, row: Mapping[str, Any]) -> str:
        value = row.get(self.columns.label)
        if isinstance(value, bool) or not isinstance(value, (str, int)):
            raise UserError(f"{where}: {self.columns.label!r} must be text or a whole number, got {shown(value)}")
        label = str(value).strip()
        if label not in self.labels:
            raise unknown_label(where, label, self.labels)
        return label
