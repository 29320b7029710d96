"""Texts that fit and keep out of each other."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distill.reporting.charts.labels import shorten, spread, text_width


@given(st.text(max_size=40), st.floats(0, 300, allow_subnormal=False))
def test_what_is_left_of_a_text_fits(text, width):
    short = shorten(text, width)
    assert not short or text_width(short) <= width
    assert short == text or not short or short.endswith("…")


def test_widths_follow_the_letters():
    assert text_width("MMM") > text_width("nnn") > text_width("iii")
    assert text_width("日本") == text_width("MM")
    assert text_width("n\u0303") == text_width("n")


@given(st.lists(st.floats(0, 200, allow_subnormal=False), max_size=8))
def test_labels_keep_apart_in_their_order(centres):
    places = spread(centres, gap=13, low=0, high=200)
    order = sorted(range(len(centres)), key=lambda index: centres[index])
    ordered = [places[index] for index in order]
    assert all(-1e-6 <= place <= 200 + 1e-6 for place in places)
    assert all(b - a >= 13 - 1e-6 for a, b in pairwise(ordered))


def test_labels_that_are_far_apart_stay_and_too_many_share_the_room():
    assert spread([10.0, 50.0], 12, 0, 100) == [10.0, 50.0]
    assert spread([5.0] * 5, 40, 0, 100) == pytest.approx([0, 25, 50, 75, 100])
