"""Characters that are cut into several pieces are judged as what they are together."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from distill.models.tokenizer import train_tokenizer
from distill.text.fragments import judge
from distill.text.masking import IGNORED, WholeWordMasking
from distill.text.vocabulary import PieceTable


@pytest.fixture(scope="module")
def tokenizer():
    """The bytes, and the pieces of one word: every accent and mark beyond ASCII is two or three pieces."""
    return train_tokenizer(["casa perro " * 5], vocab_size=275)


def words(tokenizer, text: str) -> list[str]:
    """Return the words that are masked together, in order."""
    ids = np.array([tokenizer(text, add_special_tokens=False)["input_ids"]])
    table = PieceTable.of(tokenizer)
    assert tokenizer.decode(ids[0]) == text
    found: dict[tuple[int, ...], None] = {}
    for seed in range(300):
        _, labels = WholeWordMasking(probability=1e-9)(ids, np.zeros(1, np.int64), table, seed, 0)
        found[tuple(np.flatnonzero(labels[0] != IGNORED).tolist())] = None
    assert sorted(place for word in found for place in word) == list(range(ids.shape[1]))
    return [tokenizer.decode(ids[0, list(word)]) for word in sorted(found)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("casa—perro", ["casa", "—", "perro"]),
        ("casa — perro", ["casa", " ", "—", " perro"]),
        ("«casa» “perro”", ["«", "casa", "»", " ", "“", "perro", "”"]),
        ("¿casa?", ["¿", "casa", "?"]),
        ("casa…", ["casa", "…"]),
        ("“«casa", ["“", "«", "casa"]),
        ("canción", ["canción"]),
        ("«él casa», año", ["«", "él", " casa", "»", ",", " ", "año"]),
    ],
)
def test_marks_are_words_of_their_own_and_letters_are_not(tokenizer, text, expected):
    assert words(tokenizer, text) == expected


def test_run_by_hand():
    dash, letter = "—".encode(), "ó".encode()
    assert judge((dash[:1], dash[1:2], dash[2:])) == ((True, True, True), (False, True, True))
    assert judge((letter[:1], letter[1:])) == ((False, False), (False, False))
    # A dash and a letter in one run, and a piece that holds a part of each.
    assert judge((dash[:2], dash[2:] + letter[:1], letter[1:])) == ((True, False, False), (False, False, False))
    # What a block's edge has cut off could be anything.
    assert judge((dash[1:],)) == judge((dash[:2],)) == ((False,), (False,))


def test_other_processes_get_the_same(tokenizer):
    table = PieceTable.of(tokenizer)
    assert pickle.loads(pickle.dumps(table)).fragments == table.fragments
    assert table.is_fragment.sum() == len(table.fragments) > 100


def test_vocabularies_of_whole_characters_have_none(wordpiece, sentencepiece):
    assert not PieceTable.of(wordpiece).fragments
    assert not PieceTable.of(sentencepiece).fragments
