"""Paragraphs of documents, of the length of those that people ask questions about."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from distill.augmentation.facts import sentences

_BLANK_LINE = re.compile(r"\n[^\S\n]*\n\s*")


@dataclass
class ParagraphReport:
    """What became of paragraphs; long ones count once for each piece that they are cut into.

    Attributes:
        kept: Of the right length, and not seen before.
        too_short: Shorter than asked for.
        too_long: Longer, for they are a single sentence.
        duplicates: Equal to an earlier one but for case, width and white space.
    """

    kept: int = 0
    too_short: int = 0
    too_long: int = 0
    duplicates: int = 0

    def describe(self) -> str:
        """Return a line for people.

        Example:
            >>> ParagraphReport(kept=5, too_short=2).describe()
            '5 paragraphs; left out: 2 too short, 0 too long, 0 that had come before'
        """
        return (
            f"{self.kept:,} paragraphs; left out: {self.too_short:,} too short, {self.too_long:,} too long, "
            f"{self.duplicates:,} that had come before"
        )


def paragraphs(documents: Iterable[str], min_chars: int, max_chars: int, report: ParagraphReport) -> Iterator[str]:
    """Yield the paragraphs of documents, composed (NFC), on one line each, long ones cut between sentences.

    Args:
        documents: Texts whose paragraphs are parted by blank lines.
        min_chars: Shorter pieces are passed over.
        max_chars: Longest piece; a longer sentence is passed over.
        report: Counts what is passed over.
    """
    for document in documents:
        for paragraph in _BLANK_LINE.split(unicodedata.normalize("NFC", document)):
            for piece in _pieces(" ".join(paragraph.split()), max_chars):
                if len(piece) < min_chars:
                    report.too_short += 1
                elif len(piece) > max_chars:
                    report.too_long += 1
                else:
                    yield piece


def _pieces(text: str, max_chars: int) -> Iterator[str]:
    start = done = 0
    for first, end in sentences(text):
        if end - start > max_chars and done > start:
            yield text[start:done]
            start = first
        done = end
    yield text[start:done]
