"""Text patterns: slots in angle brackets, gender agreement in parentheses, Spanish contractions.

A pattern is Spanish text with two marks. ``<slot>`` stands for something to be filled in and ``(o/a)`` for a choice by
the grammatical gender of the subject: ``nacid(o/a) en <town>``. Neither mark clashes with YAML or with Spanish.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Literal

Gender = Literal["m", "f"]

SLOT = re.compile(r"<([^<>]+)>")
AGREEMENT = re.compile(r"\(([^()/]*)/([^()/]*)\)")
# Only the lower-case article contracts: "de el puente" -> "del puente", but "de El Faro" stays.
CONTRACTION = re.compile(r"\b([Dd]e|[Aa]) el\b")


def agree(pattern: str, gender: Gender) -> str:
    """Resolve every ``(masculine/feminine)`` mark of ``pattern`` for ``gender``."""
    return AGREEMENT.sub(lambda match: match[1 if gender == "m" else 2], pattern)


def fill(pattern: str, slots: Mapping[str, str]) -> str:
    """Replace the slots named in ``slots``; other slots stay as they are."""
    return SLOT.sub(lambda match: slots.get(match[1], match[0]), pattern)


def expand(pattern: str, draw: Callable[[str], str]) -> str:
    """Replace every slot by ``draw(slot)``, expanding what was drawn in turn."""
    return SLOT.sub(lambda match: expand(draw(match[1]), draw), pattern)


def contract(text: str) -> str:
    """Join ``de el`` and ``a el`` into ``del`` and ``al``."""
    return CONTRACTION.sub(lambda match: match[1] + "l", text)


def conjoin(left: str, right: str) -> str:
    """Join two clauses with ``y``, or with ``e`` before the sound /i/."""
    return f"{left} {'e' if re.match(r'h?[ií](?!e)', right.lower()) else 'y'} {right}"


def sentence(text: str) -> str:
    """Contract, capitalise the first letter and close with a full stop."""
    text = contract(text)
    return f"{text[0].upper()}{text[1:]}."
