"""How well a vocabulary fits a text."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from transformers import PreTrainedTokenizerBase

from distill.text.packing import tokenize

_LETTERS = re.compile(r"[^\W\d_]+")


@dataclass(frozen=True)
class Coverage:
    """How a tokenizer cuts a text.

    Attributes:
        documents: Documents that were cut.
        words: Words in them, cut at white space.
        tokens: Tokens in them, without special ones.
        tokens_per_word: ``tokens / words``, so punctuation counts as part of words; 0 without words.
        one_piece_share: Share of runs of letters that are a single piece when they stand behind a space, in percent;
            0 without any.
    """

    documents: int
    words: int
    tokens: int
    tokens_per_word: float
    one_piece_share: float

    def describe(self) -> str:
        """Return a line for people."""
        return (
            f"{self.tokens_per_word:.3f} tokens per word, {self.one_piece_share:.1f} % of words in one piece "
            f"({self.words:,} words in {self.documents:,} documents)"
        )


def measure_coverage(documents: Iterable[str], tokenizer: PreTrainedTokenizerBase) -> Coverage:
    """Cut documents and count; memory grows with the number of different words alone."""
    num_documents = num_words = num_tokens = 0
    runs: Counter[str] = Counter()
    for text, ids in tokenize(documents, tokenizer):
        num_documents += 1
        num_words += len(text.split())
        num_tokens += len(ids)
        runs.update(_LETTERS.findall(text))
    in_one_piece = sum(
        runs[spaced[1:]] for spaced, ids in tokenize((f" {run}" for run in runs), tokenizer) if len(ids) == 1
    )
    return Coverage(
        documents=num_documents,
        words=num_words,
        tokens=num_tokens,
        tokens_per_word=round(num_tokens / max(num_words, 1), 4),
        one_piece_share=round(100 * in_one_piece / max(runs.total(), 1), 2),
    )
