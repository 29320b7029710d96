"""Paragraphs from all over a collection of files, though only some of them will be used."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from heapq import nsmallest
from itertools import chain, zip_longest
from math import ceil, inf
from pathlib import Path
from typing import NamedTuple

from distill.augmentation.paragraphs import ParagraphReport, paragraphs
from distill.text.duplicates import SeenKeys, document_key
from distill.text.language import LanguageCheck
from distill.text.report import TextReport
from distill.text.selection import DocumentFilter
from distill.text.sources import FileSource

#: Paragraphs that are held at once at most: some 100 MB.
_MOST_HELD = 1 << 15


class Paragraph(NamedTuple):
    """A paragraph, its file, and a hash of the seed and its text."""

    key: int
    text: str
    file: Path


class SpreadParagraphs:
    """The paragraphs of files, each once: files take turns, and within a file a hash decides the order.

    So the first n are spread over all files and over the whole of each, whatever n. A share of the paragraphs is held,
    ``num_held`` in all; where more are asked for, the files are read again for the next ones, twice as many, so that
    memory does not grow with the text.

    Attributes:
        reading: What reading repaired and dropped, complete with the first paragraph.
        report: What became of the paragraphs, alike.

    Args:
        source: The files; documents that came before are dropped, also those of another file.
        language: What decides whether a document is in the language; nothing is asked when None.
        min_chars: Shortest paragraph.
        max_chars: Longest paragraph; longer ones are cut between sentences.
        seed: Changes the order within the files.
        num_held: How many paragraphs to hold at first, at least 1; of more than 32,768 so many.
    """

    def __init__(
        self,
        source: FileSource,
        language: LanguageCheck | None,
        min_chars: int,
        max_chars: int,
        seed: int,
        num_held: int,
    ) -> None:
        self.reading = TextReport()
        self.report = ParagraphReport()
        self._source, self._language, self._seed = source, language, seed
        self._lengths = min_chars, max_chars
        self._num_held = min(num_held, _MOST_HELD)

    def __iter__(self) -> Iterator[Paragraph]:
        """Yield the paragraphs."""
        done = [-1.0 for _ in self._source.files]
        reports, num_held = (self.reading, self.report), self._num_held
        while min(done) < inf:
            share = ceil(num_held / sum(key < inf for key in done))
            held: list[list[Paragraph]] = []
            for index, texts in enumerate(self._files(*reports)):
                # Also of a file that is done every document is read: others are compared with it.
                held.append(nsmallest(share, (paragraph for paragraph in texts if paragraph.key > done[index])))
                done[index] = held[-1][-1].key if len(held[-1]) == share else inf
            for paragraph in chain.from_iterable(zip_longest(*held)):
                if paragraph is not None:
                    yield paragraph
            # The counts would be the same.
            reports, num_held = (TextReport(), ParagraphReport()), min(2 * num_held, _MOST_HELD)

    def _files(self, reading: TextReport, report: ParagraphReport) -> Iterator[Iterator[Paragraph]]:
        keep, seen = DocumentFilter(reading, language=self._language), SeenKeys()
        for path, documents in self._source.documents_by_file(reading):
            yield self._paragraphs(path, paragraphs(keep(documents), *self._lengths, report), seen, report)

    def _paragraphs(
        self, path: Path, texts: Iterator[str], seen: SeenKeys, report: ParagraphReport
    ) -> Iterator[Paragraph]:
        for text in texts:
            if seen.add(document_key(text)):
                report.kept += 1
                yield Paragraph(self._key(text), text, path)
            else:
                report.duplicates += 1

    def _key(self, text: str) -> int:
        return int.from_bytes(hashlib.blake2b(f"{self._seed} {text}".encode(), digest_size=8).digest())
