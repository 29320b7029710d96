"""Data augmentation by replaced words, after TinyBERT."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil, floor

import numpy as np

from distill.augmentation.masked_words import MaskedWords
from distill.augmentation.named_words import NamedWords
from distill.augmentation.words import Span, like, overlaps, replace_words, words_of
from distill.types import Answer, Example, UserError

#: Share of a text's words that are hidden at once: what masked-language models are trained on.
_HIDDEN_SHARE = 0.15


@dataclass(frozen=True)
class WordReplacement:
    """Copies of paragraphs in which words have given way to others that a masked-language model finds likely.

    For every copy each word is chosen with ``probability`` and replaced by one of its ``num_candidates`` likeliest
    substitutes, all equally likely (Jiao et al. 2020, algorithm 1; there ``p_t`` 0.4, ``K`` 15, ``N_a`` 20 copies).
    Two things differ: several words are hidden in one pass, 15 % of the text at most, rather than one by one; and words
    of several pieces are hidden behind one mask, for want of the word vectors that the paper takes for them.

    Numbers, the answers of all questions of the paragraph, and the words that its questions and answers name, see
    :class:`NamedWords`, are never replaced, and no word of a question or answer is put in the place of another, so that
    questions keep their answers, and have no second one.

    Args:
        probability: Share of the replaceable words of a copy that are replaced.
        num_candidates: Substitutes to draw from.
        num_copies: Copies of each paragraph.

    Raises:
        UserError: If a number is out of range.
    """

    probability: float = 0.4
    num_candidates: int = 15
    num_copies: int = 2

    def __post_init__(self) -> None:
        if not 0 < self.probability <= 1:
            raise UserError(f"--probability must be above 0 and at most 1, not {self.probability}")
        if self.num_candidates < 1 or self.num_copies < 1:
            raise UserError("--num_candidates and --num_copies must be at least 1")

    def __call__(
        self, examples: Sequence[Example], model: MaskedWords, generator: np.random.Generator
    ) -> list[Example]:
        """Return the copies of one paragraph's questions, with every answer at its new place.

        Args:
            examples: All questions of one context.
            model: Names the substitutes.
            generator: Decides what is replaced by what.

        Returns:
            ``num_copies`` examples for each, copy by copy; ids end in ``#1``, ``#2`` and so on.
        """
        context = examples[0].context
        spans = [(answer.start_char, answer.start_char + len(answer.text)) for e in examples for answer in e.answers]
        named = NamedWords(examples)
        ids, words = model.read(context)
        free = [word for word in words if context[slice(*word.span)] not in named and not overlaps(word.span, spans)]
        num_hidden = max(1, floor(_HIDDEN_SHARE * sum(1 for _ in words_of(context))))
        copies: list[Example] = []
        for number in range(1, self.num_copies + 1):
            chosen = [word for word in free if generator.random() < self.probability]
            num_groups = ceil(len(chosen) / num_hidden)
            # Words of a group stand apart, so that each sees its neighbours.
            groups = [chosen[first::num_groups] for first in range(num_groups)]
            candidates = model.candidates(ids, groups, self.num_candidates, excluded=named.all)
            substitutes = {
                word.span: like(found[generator.integers(len(found))], context[slice(*word.span)])
                for group, named_for in zip(groups, candidates, strict=True)
                for word, found in zip(group, named_for, strict=True)
                if found
            }
            copies += _moved(examples, *replace_words(context, sorted(substitutes.items()), spans), number)
        return copies


def _moved(examples: Sequence[Example], context: str, spans: Sequence[Span], number: int) -> list[Example]:
    """Return the examples about a new context, their answers at ``spans``, in order."""
    places = iter(spans)
    moved = []
    for example in examples:
        answers = tuple(Answer(context[start:end], start) for start, end in (next(places) for _ in example.answers))
        moved.append(replace(example, question_id=f"{example.question_id}#{number}", context=context, answers=answers))
    return moved
