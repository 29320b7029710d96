"""Counts of what was read, repaired, dropped and kept of a collection of text."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from itertools import islice
from typing import Any

#: Names of files in a line for people.
_NAMES_SHOWN = 10


@dataclass
class TextReport:
    """What was read, repaired, dropped and kept; a reader adds to it while documents stream through.

    Attributes:
        files: Files, or hub splits.
        passed_over: What the folders that were named hold beside text files; not read.
        empty_files: Names of those of zero bytes.
        invalid_bytes: Name of a file to how many of its bytes, or lone surrogates in JSON, are not UTF-8; each was
            replaced by U+FFFD.
        documents: Documents with text, before any was dropped.
        characters: Characters in them.
        empty_documents: Rows of JSON lines or of a hub set whose text is empty or null; dropped.
        cuts: Places where a document longer than ``MAX_DOCUMENT_CHARS`` was cut into several.
        duplicates: Documents equal to an earlier one but for case, width and white space; dropped.
        unjudged: Documents too short for the language check; kept.
        foreign: Documents below the threshold of the language check.
        foreign_dropped: Those among them that were dropped.
    """

    files: int = 0
    passed_over: list[str] = field(default_factory=list)
    empty_files: list[str] = field(default_factory=list)
    invalid_bytes: dict[str, int] = field(default_factory=dict)
    documents: int = 0
    characters: int = 0
    empty_documents: int = 0
    cuts: int = 0
    duplicates: int = 0
    unjudged: int = 0
    foreign: int = 0
    foreign_dropped: int = 0

    @property
    def kept(self) -> int:
        """Documents that were neither duplicates nor dropped for their language."""
        return self.documents - self.duplicates - self.foreign_dropped

    @property
    def is_mostly_cut(self) -> bool:
        """Whether more than half of the documents are certainly pieces of longer ones: each has one more than cuts."""
        return self.cuts > 0 and 2 * (self.cuts + 1) > self.documents

    def as_dict(self) -> dict[str, Any]:
        """Return the counts by name, in plain values that JSON holds."""
        return asdict(self)

    @classmethod
    def from_dict(cls, counts: Mapping[str, Any]) -> TextReport:
        """Return the report that :meth:`as_dict` described."""
        return cls(**counts)

    def renamed(self, names: Mapping[str, str]) -> TextReport:
        """Return the same counts under the names that files have now, given those that they had."""
        return replace(
            self,
            empty_files=[names.get(file, file) for file in self.empty_files],
            invalid_bytes={names.get(file, file): count for file, count in self.invalid_bytes.items()},
        )

    def describe(self) -> list[str]:
        """Return lines for people: what was read, then one line for each kind of repair or loss that took place.

        Example:
            >>> TextReport(files=1, documents=2, characters=30).describe()
            ['read 2 documents with 30 characters: 1 files']
        """
        lines = [f"read {self.documents:,} documents with {self.characters:,} characters: {self.files:,} files"]
        if self.passed_over:
            lines.append(f"passed over {len(self.passed_over):,} entries of folders: {names(self.passed_over)}")
        if self.empty_files:
            lines.append(f"{len(self.empty_files):,} files are empty: {names(self.empty_files)}")
        for file, count in self.invalid_bytes.items():
            lines.append(f"replaced {count:,} bytes that are not UTF-8 in {file}")
        if self.empty_documents:
            lines.append(f"dropped {self.empty_documents:,} rows without text")
        if self.cuts:
            lines.append(f"cut overlong documents in {self.cuts:,} places")
        if self.duplicates:
            lines.append(f"dropped {self.duplicates:,} documents that had come before")
        if self.foreign:
            done = f"dropped {self.foreign_dropped:,}" if self.foreign_dropped else "kept"
            lines.append(f"{self.foreign:,} documents do not look like the language: {done}")
        if self.unjudged:
            lines.append(f"{self.unjudged:,} documents are too short to judge their language: kept")
        return lines


def names(of: Iterable[str]) -> str:
    """Return names in a row, the first ones where there are many.

    Example:
        >>> names(["a.txt", "b.txt"])
        'a.txt, b.txt'
    """
    first = list(islice(of, _NAMES_SHOWN + 1))
    return ", ".join(first if len(first) <= _NAMES_SHOWN else [*first[:_NAMES_SHOWN], "…"])
