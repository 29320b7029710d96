"""Which of several models are worth having: those that no other beats in both quality and time."""

from __future__ import annotations

from collections.abc import Sequence


def pareto_front(costs: Sequence[float], gains: Sequence[float]) -> list[int]:
    """Return the positions of the points that no other point dominates, by rising cost.

    A point dominates another if it costs no more and gains no less, and is strictly better in one of both. Of equal
    points all are kept.

    Args:
        costs: Less is better, such as milliseconds.
        gains: More is better, such as F1; as many as costs.

    Example:
        >>> pareto_front([3.0, 12.0, 5.0], [78.0, 84.0, 77.0])
        [0, 1]
    """
    order = sorted(range(len(costs)), key=lambda index: (costs[index], -gains[index]))
    front: list[int] = []
    for index in order:
        best = front[-1] if front else None
        is_equal = best is not None and (costs[index], gains[index]) == (costs[best], gains[best])
        if best is None or gains[index] > gains[best] or is_equal:
            front.append(index)
    return front
