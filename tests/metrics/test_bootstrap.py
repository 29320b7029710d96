import numpy as np
import pytest

from distill.metrics.bootstrap import bootstrap_interval


def test_interval_of_independent_values_is_that_of_the_normal_approximation():
    values = np.random.default_rng(1).random(2000) * 100
    low, high = bootstrap_interval(values.tolist(), range(2000))
    half = 1.96 * values.std() / np.sqrt(2000)
    assert low == pytest.approx(values.mean() - half, abs=0.15)
    assert high == pytest.approx(values.mean() + half, abs=0.15)


def test_questions_that_stand_and_fall_together_tell_less():
    values = [0.0, 100.0] * 50
    alone = bootstrap_interval(values, range(100))
    # Ten paragraphs of ten equal answers are ten observations, not a hundred.
    together = bootstrap_interval(sorted(values), [i // 10 for i in range(100)])
    assert together.high - together.low > 2 * (alone.high - alone.low)


def test_large_groups_weigh_as_much_as_their_questions():
    low, high = bootstrap_interval([100.0] * 98 + [0.0, 0.0], ["a"] * 98 + ["b", "c"])
    assert high == 100.0
    assert low < 50.0


def test_equal_arguments_give_equal_intervals():
    values, groups = [0.0, 50.0, 100.0] * 20, [f"p{i % 7}" for i in range(60)]
    assert bootstrap_interval(values, groups) == bootstrap_interval(values, groups)
    # Only which questions belong together counts, not the names (whose hashes change from process to process).
    assert bootstrap_interval(values, groups) == bootstrap_interval(values, [f"x{group}" for group in groups])
    assert bootstrap_interval(values, groups, seed=1) != bootstrap_interval(values, groups)


def test_one_group_has_no_spread():
    assert bootstrap_interval([40.0, 60.0], ["a", "a"]) == (50.0, 50.0)


@pytest.mark.parametrize(("values", "groups"), [([], []), ([1.0], [])])
def test_nothing_to_resample_is_an_error(values, groups):
    with pytest.raises(ValueError, match="one group is needed"):
        bootstrap_interval(values, groups)
