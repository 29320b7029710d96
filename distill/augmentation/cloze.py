"""Questions about plain text: a fact of a sentence is left out and asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from distill.augmentation.facts import WORD, Fact, draw_phrases, find_facts, is_function_word

#: What stands where the fact was.
GAP = "_____"

#: Whether a reader takes in a whole question.
Fits = Callable[[str], bool]

#: Question words by what is asked for; a gap is asked for by the first.
_QUESTION_WORDS = {
    "date": ("Qué fecha", "Cuándo", "En qué fecha"),
    "year": ("Qué año", "Cuándo", "En qué año"),
    "number": ("Qué número", "Cuántos", "Cuántas", "Cuánto", "Cuál es el número"),
    "name": ("Qué nombre", "Quién", "Qué", "Cuál", "Cómo se llama"),
    "phrase": ("Qué", "Cuál es", "Cuáles son", "Cómo", "De qué", "A qué", "Por qué"),
}
#: Words of a sentence that a noisy question is made of, before some are left out, at least.
_FEWEST_WORDS = 6
_PLACE_WORDS = ("Dónde", "En qué lugar")


class QuestionForm(Protocol):
    """How texts are asked about."""

    def ask(self, text: str, num_questions: int, rng: np.random.Generator, fits: Fits) -> Iterator[tuple[str, Fact]]:
        """Yield so many questions about a text at most, each with the fact that answers it."""
        ...


@dataclass(frozen=True)
class Cloze:
    """Gap-fill questions: "¿Qué año falta aquí: «Nació en _____ en Cádiz»?".

    Args:
        num_words: Words of the sentence that are shown on each side of the gap at most.
        min_words: Words of a sentence that are worth a question at least.
    """

    num_words: int = 12
    min_words: int = 6

    def ask(self, text: str, num_questions: int, rng: np.random.Generator, fits: Fits) -> Iterator[tuple[str, Fact]]:
        """Yield questions about facts that are drawn, in the order of the text."""
        facts = list(find_facts(text, self.min_words))
        for index in sorted(rng.permutation(len(facts))[:num_questions]):
            yield self.question(text, facts[index], fits), facts[index]

    def question(self, text: str, fact: Fact, fits: Fits = lambda _: True) -> str:
        """Return the question for a fact: its sentence around the gap, shortened on both sides until it fits.

        What does not even fit with a single word on each side is returned like that.
        """
        questions = (self._question(text, fact, num_words) for num_words in range(self.num_words, 0, -1))
        return next((question for question in questions if fits(question)), self._question(text, fact, 1))

    def _question(self, text: str, fact: Fact, num_words: int) -> str:
        (start, end), (first, last) = fact.span, fact.sentence
        before, after = text[first:start].split(), text[end:last].split()
        left = " ".join(before if len(before) <= num_words else ["…", *before[-num_words:]])
        right = " ".join(after if len(after) <= num_words else [*after[:num_words], "…"])
        left += " " if text[first:start].endswith(" ") else ""
        right = f" {right}" if text[end:last].startswith(" ") else right
        return f"¿{_QUESTION_WORDS[fact.kind][0]} falta aquí: «{left}{GAP}{right}»?"


@dataclass(frozen=True)
class NoisyCloze:
    """Questions of a question word and what is left of the words around the fact: "¿Cuándo Cádiz nació?".

    Of six to ``num_words`` words of the sentence, near the fact, a share that is drawn for each question, ``noise`` at
    most, is left out, twice as many of those that carry only grammar; half of the questions have their words in another
    order, each a few places away at most; what stood behind the fact comes first in half of them. Beside dates, numbers
    and names they ask for phrases of any kind. A reader learns from them to find words of a question again in a text
    and to answer with what stands beside, without anybody's answers: Lewis et al. (2019), "Unsupervised Question
    Answering by Cloze Translation", https://arxiv.org/abs/1906.04980, section 2.2 (noisy clozes).

    Args:
        noise: Highest share of the words that is left out, 0 to 0.5.
        num_words: Words in a question at most, beside the question word; at least 6.
        min_words: Words of a sentence that are worth a question at least.
    """

    noise: float = 0.4
    num_words: int = 16
    min_words: int = 8

    def ask(self, text: str, num_questions: int, rng: np.random.Generator, fits: Fits) -> Iterator[tuple[str, Fact]]:
        """Yield questions about facts and phrases that are drawn; those of which too little is left are left out."""
        facts = [*find_facts(text, self.min_words), *draw_phrases(text, self.min_words, rng)]
        for index in sorted(rng.permutation(len(facts))[:num_questions]):
            words = self._words(text, facts[index], rng)
            question_word = self._question_word(text, facts[index], rng)
            while _says_something(words):
                question = f"¿{question_word} {' '.join(words)}?"
                if fits(question):
                    yield question, facts[index]
                    break
                words.pop()

    def _words(self, text: str, fact: Fact, rng: np.random.Generator) -> list[str]:
        (start, end), (first, last) = fact.span, fact.sentence
        before, after = WORD.findall(text[first:start]), WORD.findall(text[end:last])
        if before and is_function_word(before[0]):
            before[0] = before[0].lower()
        num_words = int(rng.integers(_FEWEST_WORDS, self.num_words + 1))
        num_before = min(len(before), max(num_words - len(after), int(rng.integers(num_words + 1))))
        parts = [before[len(before) - num_before :], after[: num_words - num_before]]
        words = [word for part in (parts if rng.random() < 0.5 else parts[::-1]) for word in part]
        dropped = rng.uniform(0, self.noise)
        rates = [dropped * (2 if is_function_word(word) else 1) for word in words]
        words = [word for word, rate in zip(words, rates, strict=True) if rng.random() >= rate]
        if rng.random() < 0.5:
            words = [words[place] for place in np.argsort(np.arange(len(words)) + rng.uniform(0, 3, len(words)))]
        return words

    def _question_word(self, text: str, fact: Fact, rng: np.random.Generator) -> str:
        is_place = fact.kind == "name" and text[: fact.span[0]].endswith((" en ", " desde ", " hacia "))
        words = _PLACE_WORDS if is_place else _QUESTION_WORDS[fact.kind]
        return words[int(rng.integers(len(words)))]


def _says_something(words: list[str]) -> bool:
    return sum(not is_function_word(word) for word in words) > 1
