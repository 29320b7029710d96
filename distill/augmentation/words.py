"""Words of a text, and texts with some of their words replaced."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence

#: Characters ``[start, end)`` of a text.
Span = tuple[int, int]

#: Letters alone: numbers are facts, and a compound is several words.
_LETTERS = re.compile(r"[^\W\d_]+")


def words_of(text: str) -> Iterator[Span]:
    """Yield the words of a text, runs of letters, in order.

    A run next to a digit, an underscore or a combining mark is a part of something else, and left out.
    """
    for match in _LETTERS.finditer(text):
        start, end = match.span()
        neighbours = text[max(start - 1, 0) : start] + text[end : end + 1]
        if not any(_joins(character) for character in neighbours):
            yield start, end


def overlaps(span: Span, others: Sequence[Span]) -> bool:
    """Whether a span shares a character with any of the others."""
    return any(span[0] < end and start < span[1] for start, end in others)


def like(word: str, model: str) -> str:
    """Return a word in capitals, with an initial capital, or as it is, whichever the other word has."""
    if len(model) > 1 and model.isupper():
        return word.upper()
    return word[:1].upper() + word[1:] if model[:1].isupper() else word


def replace_words(text: str, replacements: Sequence[tuple[Span, str]], spans: Sequence[Span]) -> tuple[str, list[Span]]:
    """Replace words, and move other spans along with the text that they stand for.

    Args:
        text: The original.
        replacements: Words in order, and what takes their place.
        spans: Spans of the original, none of which shares a character with a replaced word.

    Returns:
        The new text, and for each span the one with the same characters in the new text.
    """
    parts: list[str] = []
    done = 0
    for (start, end), word in replacements:
        parts += [text[done:start], word]
        done = end
    parts.append(text[done:])

    def shift(place: int) -> int:
        return sum(len(word) - (end - start) for (start, end), word in replacements if end <= place)

    # Measured at its start, a span moves as a whole: nothing inside it has changed length.
    return "".join(parts), [(start + shift(start), end + shift(start)) for start, end in spans]


def _joins(character: str) -> bool:
    return character == "_" or character.isdigit() or bool(unicodedata.combining(character))
