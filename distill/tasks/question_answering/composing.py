"""Unicode for the model alone: composed text (NFC) that remembers the characters of the original."""

from __future__ import annotations

import sys
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache

_HANGUL_VOWELS_AND_TAILS = (*range(0x1161, 0x1176), *range(0x11A8, 0x11C3))


@dataclass(frozen=True, slots=True)
class ComposedText:
    """NFC text whose character i stands for the original's characters ``[starts[i], ends[i])``.

    Attributes:
        text: The composed text.
        starts: For each of its characters, the first original character.
        ends: For each of its characters, one past the last original character.
    """

    text: str
    starts: Sequence[int]
    ends: Sequence[int]

    def original_span(self, start_char: int, end_char: int) -> tuple[int, int]:
        """Return the span ``[start, end)`` of the original that a span of the composed text stands for.

        An empty span maps to an empty one at the same place.
        """
        if start_char < end_char:
            return self.starts[start_char], self.ends[end_char - 1]
        place = self.starts[start_char] if start_char < len(self.starts) else (self.ends[-1] if self.ends else 0)
        return place, place


def compose(text: str) -> ComposedText:
    r"""Return the NFC form of a text, each character with the original characters that it stands for.

    Where several characters compose into several others, each of these stands for all of those, so that a span is never
    cut inside a letter with its marks.

    Example:
        >>> composed = compose("man\u0303ana")
        >>> composed.text, composed.original_span(2, 3)
        ('mañana', (2, 4))

    Reference:
        Unicode Standard Annex 15, sections 9 and 13. https://unicode.org/reports/tr15/
    """
    if unicodedata.is_normalized("NFC", text):
        return ComposedText(text, range(len(text)), range(1, len(text) + 1))
    pieces: list[str] = []
    starts: list[int] = []
    ends: list[int] = []
    for start, end in _segments(text):
        segment = text[start:end]
        piece = unicodedata.normalize("NFC", segment)
        pieces.append(piece)
        if piece == segment:
            starts.extend(range(start, end))
            ends.extend(range(start + 1, end + 1))
        else:
            starts.extend([start] * len(piece))
            ends.extend([end] * len(piece))
    return ComposedText("".join(pieces), starts, ends)


def _segments(text: str) -> Iterator[tuple[int, int]]:
    """Yield spans that normalise independently of each other: a starter and all that may compose with it."""
    start = 0
    for index in range(1, len(text)):
        if _is_boundary(text[index]):
            yield start, index
            start = index
    yield start, len(text)


@cache
def _is_boundary(character: str) -> bool:
    """Whether nothing before the character can compose with it."""
    first = unicodedata.normalize("NFD", character)[0]
    return unicodedata.combining(first) == 0 and first not in _trailing_starters()


@cache
def _trailing_starters() -> frozenset[str]:
    """Return the starters (combining class 0) that can compose with a character before them."""
    trailing = set(map(chr, _HANGUL_VOWELS_AND_TAILS))
    for code in range(sys.maxunicode + 1):
        pair = unicodedata.decomposition(chr(code)).split()
        if len(pair) == 2 and not pair[0].startswith("<"):
            trailing.add(chr(int(pair[1], 16)))
    return frozenset(character for character in trailing if unicodedata.combining(character) == 0)
