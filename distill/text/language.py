"""A small, honest guess whether a document is in a language: its function words and its letters."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import asdict, dataclass
from typing import Literal

from distill.text.report import TextReport
from distill.types import UserError

_SPANISH = """
    el la los las lo un una unos unas de del a al en y o que se con por para como según sin sobre entre hasta desde
    hacia ante tras durante su sus mi mis tu nos le les me te yo él ella ellos ellas usted ustedes este esta esto
    estos estas ese esa eso esos esas aquel aquella aquellos aquellas cual cuales quien quienes cuyo cuya cuyos
    cuyas donde cuando cuanto si pero sino porque pues aunque mientras también tampoco muy más menos ya aún así
    entonces bien hay es son era eran fue fueron ser sido siendo está están estaba he ha han había habían haber
    hecho hace puede pueden debe tiene tienen tenía no ni sí nada algo todo toda todos todas otro otra otros otras
    mismo misma cada dos tan tanto poco mucho muchos
"""
_OTHER = """
    the of and to in is that for it on are with as this be at from or by which not you was have has will an can your
    do da dos das em no na nos nas um uma uns umas e é com não os ao aos à às pelo pela mais mas são foi ou seu sua já
    i amb els les dels pel pels però és són va aquest aquesta més què ser també
    il lo gli di che è un per del della dei delle nel nella con si sono ma anche più come questo questa
    le les et est des du dans pour qui sur avec ce cette il elle au aux une pas ne sont par plus ou on
"""

#: Frequent Spanish words without much meaning of their own.
SPANISH_WORDS = frozenset(_SPANISH.split())
#: Frequent words of English, Portuguese, Catalan, Italian and French that Spanish does not have: near relatives share
#: too many of the words above to be told apart by those alone.
OTHER_WORDS = frozenset(_OTHER.split()) - SPANISH_WORDS
SPANISH_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyzáéíóúüñªº")

#: A document is judged by this many characters from each of its beginning, middle and end.
_SAMPLE_CHARS = 3000
#: With fewer words than this a share of them says nothing.
_MIN_WORDS = 20
_WORD = re.compile(r"[^\W\d_]+")


@dataclass(frozen=True)
class LanguageCheck:
    """Decides whether documents look like Spanish.

    The score is the share of words that are frequent in Spanish, less the share of those that are frequent in English
    or a near relative and no Spanish, times the share of letters of the Spanish alphabet: about 0.45 for prose. It is
    a heuristic, and takes lists of names and code for foreign.

    Args:
        language: The language; Spanish is the only one whose words are known.
        threshold: Documents that score below it do not look like the language.
        drop: Whether those are dropped; else they are counted and kept.
    """

    language: Literal["es"] = "es"
    threshold: float = 0.15
    drop: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.threshold <= 1:
            raise UserError(f"data.language.threshold must be between 0 and 1, not {self.threshold}")

    def fingerprint(self) -> str:
        """Return a hash of everything that the decision depends on, the lists of words included."""
        words = [sorted(part) for part in (SPANISH_WORDS, OTHER_WORDS, SPANISH_LETTERS)]
        parts = [asdict(self), words, _SAMPLE_CHARS, _MIN_WORDS, _WORD.pattern]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    def keeps(self, text: str, report: TextReport) -> bool:
        """Whether a document stays; count those that cannot be judged or do not look like the language."""
        score = self.score(text)
        if score is None:
            report.unjudged += 1
            return True
        if score >= self.threshold:
            return True
        report.foreign += 1
        report.foreign_dropped += self.drop
        return not self.drop

    def score(self, text: str) -> float | None:
        """Return the score, between 0 and 1, of a document, or None where it has too few words for one."""
        words = _WORD.findall(_sample(text).lower())
        # A script without spaces has few words, but long ones.
        letters = "".join(words)
        if len(words) < _MIN_WORDS and len(letters) < 5 * _MIN_WORDS:
            return None
        margin = sum((word in SPANISH_WORDS) - (word in OTHER_WORDS) for word in words) / len(words)
        return max(margin, 0.0) * sum(letter in SPANISH_LETTERS for letter in letters) / len(letters)


def _sample(text: str) -> str:
    if len(text) <= 3 * _SAMPLE_CHARS:
        return text
    middle = len(text) // 2
    return " ".join((text[:_SAMPLE_CHARS], text[middle : middle + _SAMPLE_CHARS], text[-_SAMPLE_CHARS:]))
