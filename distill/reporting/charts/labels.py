"""Texts in charts: how wide they are, what is left of one that is too long, and how several keep out of each other."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

#: Size of all texts in charts, in pixels.
FONT_SIZE = 12.0

#: Widths as fractions of the font size: those of DejaVu Sans, the widest of the common sans-serif fonts.
_NARROW, _USUAL, _CAPITAL, _WIDE = 0.42, 0.64, 0.72, 1.0
_NARROW_CHARACTERS = frozenset(" .,:;|!'’()[]ijltfrI/·-")
_WIDE_CHARACTERS = frozenset("mwMW@%…—+<=>~×#^&")


def text_width(text: str, font_size: float = FONT_SIZE) -> float:
    """Return about how many pixels a text takes, rather too many than too few."""
    return font_size * sum(_width(character) for character in text)


def shorten(text: str, width: float, font_size: float = FONT_SIZE) -> str:
    """Return the text, cut with an ellipsis where it is wider than ``width``; nothing if not even that fits.

    Example:
        >>> shorten("intermediate", 100), shorten("intermediate", 50), shorten("intermediate", 8)
        ('intermediate', 'inte…', '')
    """
    if text_width(text, font_size) <= width:
        return text
    while text and text_width(text + "…", font_size) > width:
        text = text[:-1]
    return f"{text.rstrip()}…" if text else ""


def spread(centres: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Move centres as little as needed so that neighbours are ``gap`` apart and all lie between the bounds.

    Their order is kept. Where not all fit, they are spaced evenly over the whole range.

    Example:
        >>> spread([10.0, 12.0, 50.0], gap=12, low=0, high=100)
        [5.0, 17.0, 50.0]
    """
    if not centres:
        return []
    if gap * (len(centres) - 1) >= high - low:
        gap = (high - low) / max(1, len(centres) - 1)
    order = sorted(range(len(centres)), key=lambda index: centres[index])
    # Clusters of centres that touch; each sits around its members' mean wish.
    clusters: list[tuple[float, int]] = []
    for index in order:
        wish, size = _within(centres[index], 1, gap, low, high), 1
        while clusters and wish - clusters[-1][0] < gap * (size + clusters[-1][1]) / 2:
            other, other_size = clusters.pop()
            wish = (wish * size + other * other_size) / (size + other_size)
            size += other_size
            wish = _within(wish, size, gap, low, high)
        clusters.append((wish, size))
    places = [wish + gap * (place - (size - 1) / 2) for wish, size in clusters for place in range(size)]
    moved = dict(zip(order, places, strict=True))
    return [moved[index] for index in range(len(centres))]


def _within(centre: float, size: int, gap: float, low: float, high: float) -> float:
    half = gap * (size - 1) / 2
    return min(max(centre, low + half), high - half)


def _width(character: str) -> float:
    if unicodedata.combining(character):
        return 0.0
    if character in _WIDE_CHARACTERS or unicodedata.east_asian_width(character) in "WF":
        return _WIDE
    if character in _NARROW_CHARACTERS:
        return _NARROW
    return _CAPITAL if character.isupper() else _USUAL
