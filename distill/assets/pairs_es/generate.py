"""Assembling the two files of the set, byte for byte the same on every run."""

from __future__ import annotations

import random
import unicodedata
from collections.abc import Iterator, Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from distill.assets.qa_es.grammar import contract, fill
from distill.assets.qa_es.lexicon import Lexicon, Split, load_lexicon

NUM_PAIRS: dict[Split, int] = {"train": 8000, "dev": 800}

#: Lists of words that the relations draw from beside those of the lexicon.
WORDS = {"place": ["<toponym>"], "year": ["<1850..1990>"], "score": ["<2..5> a <0..1>"]}

#: Share of the pairs whose wordings name the two in the same order: the half that a model can learn first.
SAME_ORDER_SHARE = 0.7

#: Two sentences, and whether they say the same.
Pair = tuple[str, str, int]


def generate(split: Split) -> Iterator[Pair]:
    """Yield the pairs of one split, each with a random state of its own, seeded with its number.

    The second sentence tells the relation of the first in one of its ways, of the same two or, with label 0, of the
    two exchanged: for every choice of wordings both labels have the same words. Names are those of the question set's
    lexicon, so no composed name stands in both splits; their parts do.
    """
    relations = load_relations()
    lexicon = load_lexicon(split).extended(WORDS)
    for number in range(NUM_PAIRS[split]):
        rng = random.Random(f"pairs-{split}-{number}")
        yield write_pair(rng.choice(relations), lexicon, rng)


def write_pair(relation: dict[str, Sequence[str]], lexicon: Lexicon, rng: random.Random) -> Pair:
    """Write one pair on a relation."""
    first, second = _two_names(relation["kinds"], lexicon, rng)
    details = {name: lexicon.compose(f"<{name}>", rng) for name in (*WORDS, "small")}
    groups = rng.sample([relation["forms"], relation["turned"]], 2)
    if rng.random() < SAME_ORDER_SHARE:
        one, other = rng.sample(groups[0], 2)  # two that differ, so that no pair is a copy
    else:
        one, other = (rng.choice(group) for group in groups)
    label = rng.randrange(2)
    names = {"a": first, "b": second} if label else {"a": second, "b": first}
    return _tell(one, {"a": first, "b": second, **details}), _tell(other, {**names, **details}), label


@cache
def load_relations() -> list[dict[str, Any]]:
    """Load ``relations.yaml``."""
    content: list[dict[str, Any]] = yaml.safe_load(
        files(__package__).joinpath("relations.yaml").read_text(encoding="utf-8")
    )
    return content


def serialize(pairs: Iterator[Pair]) -> bytes:
    """Encode pairs as tab-separated UTF-8 in NFC with a header."""
    lines = ["sentence1\tsentence2\tlabel", *(f"{one}\t{other}\t{label}" for one, other, label in pairs)]
    return unicodedata.normalize("NFC", "\n".join(lines)).encode() + b"\n"


def write(split: Split, folder: Path) -> Path:
    """Write ``<split>.tsv`` into ``folder`` under a temporary name, then rename it."""
    path = folder / f"{split}.tsv"
    temporary = path.with_suffix(".partial")
    temporary.write_bytes(serialize(generate(split)))
    return temporary.replace(path)


def _two_names(kinds: Sequence[str], lexicon: Lexicon, rng: random.Random) -> tuple[str, str]:
    while True:
        first, second = (lexicon.compose(kind, rng) for kind in kinds)
        if first != second:
            return first, second


def _tell(wording: str, slots: dict[str, str]) -> str:
    return contract(fill(wording, slots))
