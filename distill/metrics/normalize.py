"""Answer normalisers of the official evaluation scripts, as pure functions of text.

Neither unifies composed and decomposed letters (NFC and NFD), because the official scripts do not: answers are
substrings of the original context, so figures stay comparable with theirs.
"""

from __future__ import annotations

import re
import string
import unicodedata
from collections.abc import Iterator
from functools import lru_cache

#: Texts that are normalised once alone, some 10 MB: every score, model and validation compares with the same answers.
_MOST_REMEMBERED = 1 << 15

_SQUAD_ARTICLES = re.compile(r"\b(?:a|an|the)\b")

# Arabic is a prefix, not a word; the odd first branch is the official pattern's, kept for equality.
_MLQA_ARTICLES: dict[str, re.Pattern[str] | None] = {
    "ar": re.compile(r"\sال^|ال"),  # noqa: RUF001
    "de": re.compile(r"\b(?:ein|eine|einen|einem|eines|einer|der|die|das|den|dem|des)\b"),
    "en": re.compile(r"\b(?:a|an|the)\b"),
    "es": re.compile(r"\b(?:un|una|unos|unas|el|la|los|las)\b"),
    "hi": None,
    "vi": re.compile(r"\b(?:của|là|cái|chiếc|những)\b"),
    "zh": None,
}
#: Languages that :func:`normalize_mlqa` knows.
LANGUAGES = tuple(_MLQA_ARTICLES)
#: Languages in which each ideograph is a token of its own.
_CHARACTER_LANGUAGES = frozenset({"zh"})


class _Deletion(dict[int, int | None]):
    """What :meth:`str.translate` makes of every character: nothing of punctuation; learnt as characters come."""

    def __missing__(self, code: int) -> int | None:
        is_punctuation = unicodedata.category(chr(code)).startswith("P")
        return self.setdefault(code, None if is_punctuation else code)


_NO_ASCII_PUNCTUATION = str.maketrans("", "", string.punctuation)
_NO_PUNCTUATION = _Deletion(_NO_ASCII_PUNCTUATION)


def _mixed_tokens(text: str) -> Iterator[str]:
    """Yield ideographs one by one and everything between them split at whitespace."""
    for piece in re.split(r"([\u4e00-\u9fa5])", text):
        yield from piece.split()


@lru_cache(_MOST_REMEMBERED)
def normalize_mlqa(text: str, language: str) -> str:
    """Normalise an answer as the official MLQA evaluation does.

    In this order: lower case; drop Unicode punctuation (categories P*, and the ASCII symbols of
    ``string.punctuation``); replace the articles of the language by a space; join the tokens with single spaces. Tokens
    are split at whitespace, and in Chinese each ideograph is one.

    Raises:
        ValueError: If the language is none of :data:`LANGUAGES`.

    Example:
        >>> normalize_mlqa("¿La Universidad de Sevilla?", "es")
        'universidad de sevilla'
        >>> normalize_mlqa("«EE.UU.», el 3-4%", "es")
        'eeuu 34'

    Reference:
        Lewis et al. (2020), MLQA, section 4 (evaluation). https://arxiv.org/abs/1910.07475
    """
    if language not in _MLQA_ARTICLES:
        raise ValueError(f"unknown language {language!r}: choose one of {', '.join(LANGUAGES)}")
    text = text.lower().translate(_NO_PUNCTUATION)
    articles = _MLQA_ARTICLES[language]
    if articles is not None:
        text = articles.sub(" ", text)
    return " ".join(_mixed_tokens(text) if language in _CHARACTER_LANGUAGES else text.split())


@lru_cache(_MOST_REMEMBERED)
def normalize_squad(text: str) -> str:
    """Normalise an answer as the official SQuAD v1.1 and v2.0 evaluations do.

    In this order: lower case; drop ASCII punctuation; replace the English articles by a space; join at single spaces.

    Example:
        >>> normalize_squad("The Denver  Broncos!")
        'denver broncos'
        >>> normalize_squad("¿la vitamina A?")
        '¿la vitamina'

    Reference:
        Rajpurkar et al. (2016), SQuAD, section 6.1. https://arxiv.org/abs/1606.05250
    """
    return " ".join(_SQUAD_ARTICLES.sub(" ", text.lower().translate(_NO_ASCII_PUNCTUATION)).split())
