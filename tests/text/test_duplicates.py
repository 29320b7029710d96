import random

import pytest

from distill.text import duplicates
from distill.text.duplicates import SeenKeys, document_key


def test_case_width_and_white_space_do_not_make_another_document():
    assert document_key("El  Río\n\nNalma") == document_key("el río nalma")
    assert document_key("El Ri\u0301o \uff2e\uff41lma") == document_key("el río nalma")
    assert document_key("el río nalma") != document_key("el rio nalma")
    assert 0 <= document_key("") < 1 << 64


@pytest.mark.parametrize("merge_at", [1, 7, 10_000])
def test_keys_are_new_once_wherever_they_are_kept(monkeypatch, merge_at):
    monkeypatch.setattr(duplicates, "_MERGE_AT", merge_at)
    rng = random.Random(0)
    keys = [rng.choice((0, (1 << 64) - 1, rng.randrange(300), rng.getrandbits(64))) for _ in range(2000)]
    seen, expected = SeenKeys(), set()
    for key in keys:
        assert seen.add(key) == (key not in expected)
        expected.add(key)
    assert len(seen) == len(expected)


def test_merged_keys_take_eight_bytes_each(monkeypatch):
    monkeypatch.setattr(duplicates, "_MERGE_AT", 100)
    seen = SeenKeys()
    for key in range(1000):
        seen.add(key)
    assert seen._sorted.nbytes == 8000
    assert not seen._recent
