"""What classification reads."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LabelledText:
    """A text, or a pair of texts, with a label; without one where it is to be predicted.

    Attributes:
        text_id: Where it was read: its file's name and its line.
        text: The text, or the first of a pair.
        pair: The second of a pair; None for single texts.
        label: Its label; None where nobody knows it.
    """

    text_id: str
    text: str
    pair: str | None = None
    label: str | None = None
