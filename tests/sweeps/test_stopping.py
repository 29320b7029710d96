"""Who may go on."""

from __future__ import annotations

import pytest

from distill.sweeps.spec import Hyperband
from distill.sweeps.stopping import Progress, is_hopeless

RULE = Hyperband((2, 4), 3.0)
OTHERS = [Progress((0.0, score)) for score in (10.0, 20.0, 30.0, 40.0, 50.0)]


@pytest.mark.parametrize(
    ("score", "hopeless"), [(60.0, False), (45.0, False), (40.0, False), (35.0, False), (25.0, True)]
)
def test_a_trial_is_stopped_if_more_than_a_third_are_better(score, hopeless):
    assert is_hopeless(Progress((99.0, score)), OTHERS, RULE, maximize=True) is hopeless


def test_less_may_be_better():
    assert is_hopeless(Progress((0.0, 45.0)), OTHERS, RULE, maximize=False)
    assert not is_hopeless(Progress((0.0, 15.0)), OTHERS, RULE, maximize=False)


def test_nothing_is_decided_before_the_first_rung_or_among_few():
    assert not is_hopeless(Progress((0.0,)), OTHERS, RULE, maximize=True)
    assert not is_hopeless(Progress(), OTHERS, RULE, maximize=True)
    assert not is_hopeless(Progress((0.0, 1.0)), OTHERS[:1], RULE, maximize=True)
    assert is_hopeless(Progress((0.0, 1.0)), OTHERS[:2], RULE, maximize=True)


def test_the_highest_rung_that_was_reached_counts():
    late = [Progress((0.0, 0.0, 0.0, score)) for score in (10.0, 20.0, 30.0)]
    assert not is_hopeless(Progress((0.0, 1.0, 0.0, 40.0)), late, RULE, maximize=True)
    assert is_hopeless(Progress((0.0, 99.0, 99.0, 5.0)), late, RULE, maximize=True)
    # The third score is past the second's rung and short of the fourth's.
    assert is_hopeless(Progress((0.0, 1.0, 99.0)), OTHERS, RULE, maximize=True)


def test_a_fast_student_is_not_stopped_for_slower_ones_that_score_better():
    slow = [Progress(progress.scores, latency_ms=12.0) for progress in OTHERS]
    assert not is_hopeless(Progress((0.0, 5.0), latency_ms=3.0), slow, RULE, maximize=True)
    assert is_hopeless(Progress((0.0, 5.0), latency_ms=11.5), slow, RULE, maximize=True)  # as fast, within the noise
    assert is_hopeless(Progress((0.0, 5.0)), slow, RULE, maximize=True)  # not timed yet
