"""Spans in tag sequences and their F1, counted as conlleval counts them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

#: A span: its first word, the word after its last one, and its type.
Span = tuple[int, int, str]

#: The tag of words outside every span.
OUTSIDE = "O"


def split_tag(tag: str) -> tuple[str, str]:
    """Return position and type of a tag: ``B-LOC`` is ``("B", "LOC")``, ``O`` is ``("O", "")``.

    Raises:
        ValueError: If it is neither ``O`` nor ``B-`` or ``I-`` with a type.
    """
    position, _, kind = tag.partition("-")
    if tag != OUTSIDE and (position not in ("B", "I") or not kind):
        raise ValueError(f"tag {tag!r} is neither O nor B- or I- with a type (BIO or IOB1)")
    return position, kind


def spans(tags: Sequence[str]) -> list[Span]:
    """Return the spans of one sentence's tags in order, by the rules of conlleval (CoNLL-2000 to 2003).

    A span begins at ``B-X``, and at ``I-X`` behind ``O``, behind another type or at the sentence's start; it goes on
    through ``I-X`` of its type. So BIO and IOB1, in which ``B-`` only parts neighbours of one type, are read alike, and
    no sequence is wrong.

    Example:
        >>> spans(["I-LOC", "I-LOC", "B-LOC", "I-PER", "O"])
        [(0, 2, 'LOC'), (2, 3, 'LOC'), (3, 4, 'PER')]
    """
    found: list[Span] = []
    start, open_kind = 0, ""
    for index, tag in enumerate([*tags, OUTSIDE]):
        position, kind = split_tag(tag)
        if open_kind and (position != "I" or kind != open_kind):
            found.append((start, index, open_kind))
            open_kind = ""
        if kind and not open_kind:
            start, open_kind = index, kind
    return found


class SpanMetric(Metric):
    """Precision, recall and F1 of spans over sentences, accumulated as counts, so exact on any process count.

    A predicted span is right if a reference span has the same first word, last word and type. :meth:`compute` returns
    percentages, 0 to 100:

    - ``precision`` = right / predicted, ``recall`` = right / reference, ``f1`` = 2 PR / (P + R), over all types
      together; 0 where nothing is divided by, as in conlleval.
    - ``<type>/f1`` for every type that occurs in references or predictions.
    - ``accuracy``: words with the right tag; ``exact_match``: sentences with all tags right.
    - ``num_sentences``, ``num_words``, ``num_spans`` (of the references): counts.

    Args:
        kinds: The types of spans. Every process must name the same ones.
        **kwargs: Options of every torchmetrics ``Metric``, such as ``sync_on_compute``.

    Raises:
        ValueError: If a type is repeated.

    Example:
        >>> metric = SpanMetric(["PER", "LOC"])
        >>> metric.update([["B-PER", "O", "B-LOC"]], [["B-PER", "I-PER", "B-LOC"]])
        >>> scores = metric.compute()
        >>> scores["f1"], scores["PER/f1"], scores["LOC/f1"]
        (50.0, 0.0, 100.0)
    """

    full_state_update = False
    higher_is_better = True

    span_counts: Tensor
    word_counts: Tensor

    def __init__(self, kinds: Sequence[str], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if len(set(kinds)) < len(kinds):
            raise ValueError(f"types of spans must differ: got {list(kinds)}")
        self.kinds = tuple(kinds)
        # Columns: right, predicted, reference.
        self.add_state("span_counts", torch.zeros(len(kinds), 3, dtype=torch.int64), dist_reduce_fx="sum")
        # Right words, words, right sentences, sentences.
        self.add_state("word_counts", torch.zeros(4, dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, predictions: Sequence[Sequence[str]], references: Sequence[Sequence[str]]) -> None:
        """Add sentences: the predicted tags and the right ones of each.

        Raises:
            ValueError: If the lengths differ, or a tag is malformed or of a type that was not named.
        """
        self.update_words(predictions, references)
        for predicted, expected in zip(predictions, references, strict=True):
            found, wanted = set(spans(predicted)), set(spans(expected))
            for column, group in enumerate((found & wanted, found, wanted)):
                for _, _, kind in group:
                    self.span_counts[self.kinds.index(kind), column] += 1

    def update_words(self, predictions: Sequence[Sequence[str]], references: Sequence[Sequence[str]]) -> None:
        """Add sentences whose labels are no spans, such as parts of speech, to the scores of words alone."""
        for predicted, expected in zip(predictions, references, strict=True):
            num_right = sum(mine == other for mine, other in zip(predicted, expected, strict=True))
            counts = (num_right, len(expected), num_right == len(expected), 1)
            self.word_counts += torch.tensor(counts, device=self.word_counts.device)

    def compute(self) -> dict[str, float]:
        """Return the scores named above."""
        right_words, words, right_sentences, sentences = self.word_counts.tolist()
        precision, recall, f1 = _scores(*self.span_counts.sum(0).tolist())
        return {
            "f1": f1,
            "precision": precision,
            "recall": recall,
            "accuracy": _percent(right_words, words),
            "exact_match": _percent(right_sentences, sentences),
            **{
                f"{kind}/f1": _scores(*counts)[2]
                for kind, counts in zip(self.kinds, self.span_counts.tolist(), strict=True)
                if any(counts)
            },
            "num_sentences": float(sentences),
            "num_words": float(words),
            "num_spans": float(self.span_counts[:, 2].sum()),
        }


def _percent(part: int, whole: int) -> float:
    return 100 * part / whole if whole else 0.0


def _scores(right: int, predicted: int, expected: int) -> tuple[float, float, float]:
    """Return precision, recall and F1 in per cent."""
    return _percent(right, predicted), _percent(right, expected), _percent(2 * right, predicted + expected)
