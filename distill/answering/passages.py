"""Contexts of any length as passages of bounded length, and passages as pools of bounded size."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from distill.answering.inputs import Item
from distill.types import Example

#: Longest text that is cut into windows as a whole, in characters: about 22,000 words. Far above any text that models
#: are trained and scored on, so those are read exactly as evaluation reads them.
PASSAGE_CHARS = 2**17

#: Characters that consecutive passages of a longer text share: more than the longest answer.
OVERLAP_CHARS = 2**12

#: Characters, questions included, whose windows are held in memory and sorted by length together.
POOL_CHARS = 2**18

#: What a passage costs beside its characters, so that a pool of very short ones is bounded too.
_PASSAGE_COST = 2**8


@dataclass(frozen=True, slots=True)
class Passage:
    """A part of a context.

    Attributes:
        example: The question with this part as its context.
        item: What was asked.
        context_index: Which of the item's contexts it is a part of.
        start_char: Where in that context it begins.
        is_last: Whether it is the last part of the item's last context.
    """

    example: Example
    item: Item
    context_index: int
    start_char: int
    is_last: bool


def cut(text: str, length: int, overlap: int = OVERLAP_CHARS) -> Iterator[tuple[int, int]]:
    """Yield spans ``[start, end)`` of at most ``length`` characters that cover a text and overlap.

    Spans begin and end between words where there is a blank within half an overlap, so any stretch of up to half an
    overlap lies wholly inside one of them. An empty text is one empty span.
    """
    start = 0
    while len(text) - start > length:
        end = _before_blank(text, start + length, overlap // 2)
        yield start, end
        start = _before_blank(text, end - overlap // 2, overlap // 2)
    yield start, len(text)


def passages(items: Iterable[Item], length: int = PASSAGE_CHARS) -> Iterator[Passage]:
    """Yield the passages of every item in order; an example's identifier is its place among all passages."""
    index = 0
    for item in items:
        parts = [
            (context_index, *span)
            for context_index, context in enumerate(item.contexts)
            for span in cut(context, length)
        ]
        for place, (context_index, start, end) in enumerate(parts):
            text = item.contexts[context_index][start:end]
            yield Passage(Example(str(index), item.question, text), item, context_index, start, place == len(parts) - 1)
            index += 1


def pools(stream: Iterable[Passage], num_chars: int = POOL_CHARS) -> Iterator[list[Passage]]:
    """Group consecutive passages until they hold ``num_chars`` characters; a longer passage is a pool of its own."""
    pool: list[Passage] = []
    held = 0
    for passage in stream:
        cost = len(passage.example.question) + len(passage.example.context) + _PASSAGE_COST
        if pool and held + cost > num_chars:
            yield pool
            pool, held = [], 0
        pool.append(passage)
        held += cost
    if pool:
        yield pool


def _before_blank(text: str, end_char: int, reach: int) -> int:
    """Return the last place at or before ``end_char`` that follows a blank, or ``end_char`` if none is near."""
    for place in range(end_char, end_char - reach, -1):
        if text[place - 1].isspace():
            return place
    return end_char
