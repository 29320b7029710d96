"""Scales and ticks."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distill.reporting.charts.scales import Scale, bounds, linear_ticks, log_ticks, tick_label, tick_labels

# Without subnormal numbers: the command line switches them off for the whole process.
finite = st.floats(-1e9, 1e9, allow_subnormal=False)


def test_a_scale_maps_its_bounds_and_holds_what_is_beyond():
    linear = Scale(0, 10, 100, 300)
    assert [linear(value) for value in (0, 5, 10, 20, -1)] == [100, 200, 300, 300, 100]
    logarithmic = Scale(1, 100, 300, 100, is_log=True)
    assert [round(logarithmic(value), 6) for value in (1, 10, 100)] == [300, 200, 100]


@given(finite, st.floats(1e-6, 1e9), st.integers(1, 8))
def test_linear_ticks_are_round_inside_and_few(low, width, count):
    high = low + width
    ticks = linear_ticks(low, high, count)
    assert 1 <= len(ticks) <= count + 1
    assert ticks == sorted(ticks)
    if len(ticks) > 2:
        gaps = [b - a for a, b in pairwise(ticks)]
        assert max(gaps) - min(gaps) <= 1e-6 * max(abs(low), abs(high), 1)


@given(st.floats(1e-8, 1e8), st.floats(1.5, 1e8), st.integers(2, 8))
def test_logarithmic_ticks_lie_inside_and_are_few(low, factor, count):
    ticks = log_ticks(low, low * factor, count)
    assert ticks == sorted(ticks)
    assert len(ticks) <= count + 1
    assert all(low * 0.999 <= tick <= low * factor * 1.001 for tick in ticks)


@given(st.lists(st.floats(allow_subnormal=False)), st.booleans())
def test_bounds_hold_every_value_that_has_a_place(values, is_log):
    usable = [
        value for value in values if math.isfinite(value) and abs(value) < 1e300 and (value > 1e-300 or not is_log)
    ]
    low, high = bounds(usable, is_log)
    assert low < high
    assert all(low <= value <= high for value in usable)


def test_bounds_of_counts_and_percentages_do_not_go_below_zero():
    assert bounds([0.0, 100.0])[0] == 0.0
    assert bounds([-1.0, 1.0])[0] < -1
    assert bounds([]) == (0.0, 1.0)
    assert bounds([float("nan")], is_log=True) == (1.0, 10.0)


@pytest.mark.parametrize(
    ("value", "label"),
    [(0, "0"), (0.5, "0.5"), (-2, "\N{MINUS SIGN}2"), (999, "999"), (1000, "1k"), (2500, "2.5k"), (4e6, "4M"),
     (3e9, "3G"), (5e-5, "5e-5"), (0.1 + 0.2, "0.3")],
)  # fmt: skip
def test_tick_labels_are_short(value, label):
    assert tick_label(value) == label


@pytest.mark.parametrize(
    ("ticks", "labels"),
    [
        ([0, 5e-4, 1e-3, 1.5e-3, 2e-3], ["0", "5e-4", "1e-3", "1.5e-3", "2e-3"]),
        ([0.001, 0.002], ["0.001", "0.002"]),
        # Over many powers of ten the plain ones are read more easily.
        ([1e-4, 1e-2, 1.0, 100.0], ["1e-4", "0.01", "1", "100"]),
        ([0], ["0"]),
        ([], []),
    ],
)
def test_small_ticks_of_an_axis_are_written_alike(ticks, labels):
    assert tick_labels(ticks) == labels
