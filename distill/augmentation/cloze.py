"""Questions about plain text: a fact of a sentence is left out and asked for."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from distill.augmentation.words import Span

_MONTHS = "enero|febrero|marzo|abril|mayo|junio|julio|agosto|septiembre|setiembre|octubre|noviembre|diciembre"

_NAME = r"[A-ZÁÉÍÓÚÜÑ]\w+"
_PARTICLES = r"(?:(?:de|del|la|las|los|y) )"
_BEGUN_NAME = re.compile(rf"(?:{_NAME} {_PARTICLES}*)+")

#: What is asked for, the question word, and how it looks; the first kind that fits a place has it.
_KINDS = (
    ("date", "Qué fecha", rf"\b\d{{1,2}} de (?:{_MONTHS})(?: de(?:l año)? \d{{3,4}})?\b"),
    ("year", "Qué año", r"(?<=\ben )(?:1\d{3}|20\d{2})\b(?![.,]?\d)"),
    ("number", "Qué número", r"\b\d+(?:[.,]\d+)*\b"),
    # Behind a lower-case word, where no sentence begins; with its particles: "Alfonso de la Torre".
    ("name", "Qué nombre", rf"(?<=[a-záéíóúüñ,;:] ){_NAME}(?: {_PARTICLES}*{_NAME})*"),
)

#: A sentence ends at its mark where the next one begins with a capital, a digit or an opening mark.
_SENTENCE_END = re.compile(r"(?<=[.!?…])[»”\")]*\s+(?=[¿¡«“\"(]*[A-ZÁÉÍÓÚÜÑ\d])|\n+")

#: What stands where the fact was.
GAP = "_____"


class Fact(NamedTuple):
    """Something in a text that can be asked for."""

    kind: str
    span: Span
    sentence: Span


@dataclass(frozen=True)
class Cloze:
    """Gap-fill questions: "¿Qué año falta aquí: «Nació en _____ en Cádiz»?".

    Args:
        num_words: Words of the sentence that are shown on each side of the gap at most.
        min_words: Words of a sentence that are worth a question at least.
    """

    num_words: int = 12
    min_words: int = 6

    def facts(self, text: str) -> Iterator[Fact]:
        """Yield the dates, years, other numbers and names of a text in order; none overlaps another."""
        for start, end in sentences(text):
            if len(text[start:end].split()) < self.min_words:
                continue
            for match in _FACT.finditer(text, start, end):
                assert match.lastgroup is not None
                # The sentence may begin with a name, whose rest is no name of its own.
                if match.lastgroup != "name" or not _BEGUN_NAME.fullmatch(text, start, match.start()):
                    yield Fact(match.lastgroup, match.span(), (start, end))

    def question(self, text: str, fact: Fact, fits: Callable[[str], bool] = lambda _: True) -> str:
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
        return f"¿{_WORDS[fact.kind]} falta aquí: «{left}{GAP}{right}»?"


def sentences(text: str) -> Iterator[Span]:
    """Yield the sentences of a text without the space around them; abbreviations before capitals are taken for ends."""
    start = 0
    for end, following in [*(match.span() for match in _SENTENCE_END.finditer(text)), (len(text), len(text))]:
        if text[start:end].strip():
            yield start, end
        start = following


_FACT = re.compile("|".join(f"(?P<{kind}>{pattern})" for kind, _, pattern in _KINDS))
_WORDS = {kind: word for kind, word, _ in _KINDS}
