"""Assembling the two files of the set, byte for byte the same on every run."""

from __future__ import annotations

import random
import re
import unicodedata
from collections.abc import Iterator
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from distill.assets.qa_es.lexicon import Split, load_lexicon

NUM_SENTENCES: dict[Split, int] = {"train": 4000, "dev": 600}

#: Share of dev sentences of a wording that train does not have.
UNSEEN_SHARE = 0.15

_ENTITY = re.compile(r"\b(PER|ORG|LOC|MISC)\[([^\]]*)\]")
_MARK = re.compile(r"([«»])")

#: A word and its label.
TaggedWord = tuple[str, str]


def generate(split: Split) -> Iterator[list[TaggedWord]]:
    """Yield the sentences of one split, each with a random state of its own, seeded with its number.

    Names are those of the question set's lexicon, so no composed name stands in both splits; their parts do.
    """
    patterns = load_patterns()
    lists = {name: words for name, words in patterns.items() if name not in ("both", "dev")}
    lexicon = load_lexicon(split).extended(lists)
    for number in range(NUM_SENTENCES[split]):
        rng = random.Random(f"ner-{split}-{number}")
        is_unseen = split == "dev" and rng.random() < UNSEEN_SHARE
        yield tag_words(lexicon.compose(rng.choice(patterns["dev" if is_unseen else "both"]), rng))


def tag_words(sentence: str) -> list[TaggedWord]:
    """Return the words of a sentence whose entities stand in brackets behind their type, with BIO labels.

    Example:
        >>> tag_words("PER[Ana Rúa] vive .")
        [('Ana', 'B-PER'), ('Rúa', 'I-PER'), ('vive', 'O'), ('.', 'O')]
    """
    tagged: list[TaggedWord] = []
    position = 0
    for match in [*_ENTITY.finditer(sentence), None]:
        end = len(sentence) if match is None else match.start()
        tagged += [(word, "O") for word in _words(sentence[position:end])]
        if match is not None:
            entity = _words(match[2])
            tagged += [(word, f"{'I' if index else 'B'}-{match[1]}") for index, word in enumerate(entity)]
            position = match.end()
    return tagged


@cache
def load_patterns() -> dict[str, list[str]]:
    """Load ``patterns.yaml``: lists of names, and the sentences of both splits and of dev alone."""
    content: dict[str, Any] = yaml.safe_load(files(__package__).joinpath("patterns.yaml").read_text(encoding="utf-8"))
    return content


def serialize(sentences: Iterator[list[TaggedWord]]) -> bytes:
    """Encode sentences as CoNLL columns in UTF-8 and NFC, a blank line behind each."""
    text = "".join("".join(f"{word} {label}\n" for word, label in sentence) + "\n" for sentence in sentences)
    return unicodedata.normalize("NFC", text).encode()


def write(split: Split, folder: Path) -> Path:
    """Write ``<split>.conll`` into ``folder`` under a temporary name, then rename it."""
    path = folder / f"{split}.conll"
    temporary = path.with_suffix(".partial")
    temporary.write_bytes(serialize(generate(split)))
    return temporary.replace(path)


def _words(text: str) -> list[str]:
    return _MARK.sub(r" \1 ", text).split()
