"""What plain text states: dates, numbers and names of its sentences, and any few words that belong together."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from distill.augmentation.words import Span

_MONTHS = "enero|febrero|marzo|abril|mayo|junio|julio|agosto|septiembre|setiembre|octubre|noviembre|diciembre"

_NAME = r"[A-ZÁÉÍÓÚÜÑ]\w+"
_PARTICLES = r"(?:(?:de|del|la|las|los|y) )"
_BEGUN_NAME = re.compile(rf"(?:{_NAME} {_PARTICLES}*)+")

#: What is asked for and how it looks; the first kind that fits a place has it.
_KINDS = {
    "date": rf"\b\d{{1,2}} de (?:{_MONTHS})(?: de(?:l año)? \d{{3,4}})?\b",
    "year": r"(?<=\ben )(?:1\d{3}|20\d{2})\b(?![.,]?\d)",
    "number": r"\b\d+(?:[.,]\d+)*\b",
    # Behind a lower-case word, where no sentence begins; with its particles: "Alfonso de la Torre".
    "name": rf"(?<=[a-záéíóúüñ,;:] ){_NAME}(?: {_PARTICLES}*{_NAME})*",
}
_FACT = re.compile("|".join(f"(?P<{kind}>{pattern})" for kind, pattern in _KINDS.items()))

#: A sentence ends at its mark where the next one begins with a capital, a digit or an opening mark.
_SENTENCE_END = re.compile(r"(?<=[.!?…])[»”\")]*\s+(?=[¿¡«“\"(]*[A-ZÁÉÍÓÚÜÑ\d])|\n+")

#: Words, with the numbers and compounds that marks hold together.
WORD = re.compile(r"\d+(?:[.,]\d+)+|[^\W_]+(?:[-'’][^\W_]+)*")

#: Words that carry grammar and hardly any meaning: articles, and the others.
_ARTICLE = re.compile(r"el|las?|los?|un[oa]?s?", re.IGNORECASE)
_FUNCTION_WORD = re.compile(
    r"a|al|así|aunque|como|con|cual|cuales|cuando|de|del|desde|donde|e|en|entre|era|es|esa|ese|est[aeo]s?|fue|han?|hasta"
    r"|les?|más|muy|ni|no|o|para|pero|por|porque|que|se|según|ser|si|sin|sobre|son|sus?|también|tan|u|ya?",
    re.IGNORECASE,
)
#: Words of a phrase at most.
_LONGEST_PHRASE = 6


class Fact(NamedTuple):
    """Something in a text that can be asked for."""

    kind: str
    span: Span
    sentence: Span


def sentences(text: str) -> Iterator[Span]:
    """Yield the sentences of a text without the space around them; abbreviations before capitals are taken for ends."""
    start = 0
    for end, following in [*(match.span() for match in _SENTENCE_END.finditer(text)), (len(text), len(text))]:
        if text[start:end].strip():
            yield start, end
        start = following


def is_function_word(word: str) -> bool:
    """Whether a word carries grammar and hardly any meaning."""
    return bool(_ARTICLE.fullmatch(word) or _FUNCTION_WORD.fullmatch(word))


def find_facts(text: str, min_words: int) -> Iterator[Fact]:
    """Yield the dates, years, other numbers and names of a text in order; none overlaps another.

    Args:
        text: The text.
        min_words: Words of a sentence that is looked at, at least.
    """
    for start, end in _long_sentences(text, min_words):
        for match in _FACT.finditer(text, start, end):
            assert match.lastgroup is not None
            # The sentence may begin with a name, whose rest is no name of its own.
            if match.lastgroup != "name" or not _BEGUN_NAME.fullmatch(text, start, match.start()):
                yield Fact(match.lastgroup, match.span(), (start, end))


def draw_phrases(text: str, min_words: int, rng: np.random.Generator) -> Iterator[Fact]:
    """Yield a phrase of every sentence that has one: one to six words without a mark between them, as people answer.

    It begins with an article or behind a function word or a mark and ends before one of these, in a word that carries
    meaning, as four in five answers of Spanish SQuAD sets do; so a reader can learn where a phrase ends.
    """
    for start, end in _long_sentences(text, min_words):
        found = list(_phrases(text, [match.span() for match in WORD.finditer(text, start, end)]))
        if found:
            yield Fact("phrase", found[int(rng.integers(len(found)))], (start, end))


def _phrases(text: str, words: list[Span]) -> Iterator[Span]:
    """Yield the phrases of a sentence."""
    is_article = [_ARTICLE.fullmatch(text, *span) is not None for span in words]
    is_grammar = [is_function_word(text[slice(*span)]) for span in words]
    # Whether nothing but space stands before a word and behind the one before it.
    is_joined = [False, *(text[end:start].isspace() for (_, end), (start, _) in pairwise(words)), False]
    for first in range(len(words)):
        is_inside = is_joined[first] and not is_grammar[first - 1]
        if not is_article[first] and (is_grammar[first] or is_inside):
            continue
        for last in range(first, min(first + _LONGEST_PHRASE, len(words))):
            if last > first and not is_joined[last]:
                break
            if not is_grammar[last] and (not is_joined[last + 1] or is_grammar[last + 1]):
                yield words[first][0], words[last][1]


def _long_sentences(text: str, min_words: int) -> Iterator[Span]:
    for start, end in sentences(text):
        if len(text[start:end].split()) >= min_words:
            yield start, end
