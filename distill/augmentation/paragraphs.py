"""Paragraphs of documents, of the length of those that people ask questions about."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator

from distill.augmentation.cloze import sentences

_BLANK_LINE = re.compile(r"\n[^\S\n]*\n\s*")


def paragraphs(documents: Iterable[str], min_chars: int, max_chars: int) -> Iterator[str]:
    """Yield the paragraphs of documents, composed (NFC), on one line each, long ones cut between sentences.

    Args:
        documents: Texts whose paragraphs are parted by blank lines.
        min_chars: Shorter pieces are passed over.
        max_chars: Longest piece; a longer sentence is passed over.
    """
    for document in documents:
        for paragraph in _BLANK_LINE.split(unicodedata.normalize("NFC", document)):
            for piece in _pieces(" ".join(paragraph.split()), max_chars):
                if min_chars <= len(piece) <= max_chars:
                    yield piece


def _pieces(text: str, max_chars: int) -> Iterator[str]:
    start = done = 0
    for first, end in sentences(text):
        if end - start > max_chars and done > start:
            yield text[start:done]
            start = first
        done = end
    yield text[start:done]
