"""Words and invented names to draw from, with the names of the two splits kept disjoint."""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from itertools import product
from typing import Any, Literal

import yaml

from distill.assets.qa_es.grammar import expand
from distill.types import UserError

Split = Literal["train", "dev"]

DEV_SHARE = 0.2
INTEGER_RANGE = re.compile(r"(\d+)\.\.(\d+)(?:/(\d+))?")


def read_yaml(name: str) -> dict[str, Any]:
    """Read a YAML file of this package, given its path relative to the package."""
    return yaml.safe_load(files(__package__).joinpath(name).read_text(encoding="utf-8"))


def invent(parts: Mapping[str, Sequence[Sequence[str]]], split: Split) -> dict[str, list[str]]:
    """Compose every invented name of one split.

    Each kind of name is the product of its lists of parts. The names of a kind are shuffled with a fixed seed and
    ``DEV_SHARE`` of them go to dev, so train and dev never share one. A name composed for two kinds belongs to the
    first of them.
    """
    seen: set[str] = set()
    pools = {}
    for kind, lists in parts.items():
        names = [name for name in dict.fromkeys("".join(pieces) for pieces in product(*lists)) if name not in seen]
        seen.update(names)
        random.Random(kind).shuffle(names)
        num_dev = int(len(names) * DEV_SHARE)
        pools[kind] = names[:num_dev] if split == "dev" else names[num_dev:]
    return pools


class Lexicon:
    """Every word list and pool of invented names that a pattern may draw from in one split."""

    def __init__(self, words: Mapping[str, Sequence[str]], names: Mapping[str, Sequence[str]]) -> None:
        """Take the word lists (shared by both splits) and the invented names (of one split)."""
        self._lists = {**words, **names}

    def draw(self, slot: str, rng: random.Random) -> str:
        """Draw one entry of the list called ``slot``, or an integer where it reads ``low..high`` or ``low..high/step``.

        Raises:
            UserError: If no list has that name.
        """
        if match := INTEGER_RANGE.fullmatch(slot):
            low, high, step = int(match[1]), int(match[2]), int(match[3] or 1)
            number = rng.randrange(low, high + 1, step)
            # Spanish groups digits from five digits on, with a space.
            return f"{number:,}".replace(",", " ") if number >= 10_000 else str(number)
        if slot not in self._lists:
            raise UserError(f"lexicon.yaml: no list called '{slot}'; add it or correct the pattern that names it")
        return rng.choice(self._lists[slot])

    def compose(self, pattern: str, rng: random.Random) -> str:
        """Fill every slot of ``pattern``, never drawing the same words twice ("danza y danza")."""
        drawn: set[str] = set()

        def draw(slot: str) -> str:
            text = self.draw(slot, rng)
            while text in drawn and "<" not in text:
                text = self.draw(slot, rng)
            drawn.add(text)
            return text

        return expand(pattern, draw)

    def extended(self, words: Mapping[str, Sequence[str]]) -> Lexicon:
        """Return a lexicon that also knows the lists of one domain."""
        return Lexicon({**self._lists, **words}, {})


@cache
def load_lexicon(split: Split) -> Lexicon:
    """Load ``lexicon.yaml`` with the invented names of ``split``."""
    content = read_yaml("lexicon.yaml")
    return Lexicon(content["words"], invent(content["names"], split))
