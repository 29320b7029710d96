"""What token classification reads and cuts."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TaggedSentence:
    """Words with a label each; without labels where they are to be predicted.

    Attributes:
        sentence_id: Where it was read: its file's name and the line of its first word.
        words: The words, none of them blank.
        labels: A label for each word; None where nobody knows them.
    """

    sentence_id: str
    words: tuple[str, ...]
    labels: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class SentenceWindow:
    """One window of a sentence.

    Attributes:
        sentence: The sentence that it was cut from.
        words: Which of its words have their label here, in the order of the labelled places of the window.
    """

    sentence: TaggedSentence
    words: tuple[int, ...]
