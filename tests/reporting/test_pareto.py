"""The front of what nothing dominates, against its definition."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from distill.reporting.pareto import pareto_front

small = st.integers(0, 6).map(float)


@given(st.lists(st.tuples(small, small)))
def test_front_is_what_nothing_dominates_by_rising_cost(points):
    costs, gains = [x for x, _ in points], [y for _, y in points]

    def dominates(one, other):
        return one != other and one[0] <= other[0] and one[1] >= other[1]

    front = pareto_front(costs, gains)
    assert sorted(front) == [i for i, p in enumerate(points) if not any(dominates(other, p) for other in points)]
    assert [costs[i] for i in front] == sorted(costs[i] for i in front)
