"""How far a mean over questions may be off, given how few questions there are."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Interval(NamedTuple):
    """Both ends of a confidence interval, in the unit of the values."""

    low: float
    high: float


def bootstrap_interval(
    values: Sequence[float],
    groups: Sequence[Hashable],
    confidence: float = 0.95,
    num_resamples: int = 1000,
    seed: int = 0,
) -> Interval:
    """Return the percentile bootstrap interval of the mean of ``values``, drawing whole groups.

    Questions about one paragraph are right or wrong together, so a resample draws as many groups as there are, with
    replacement, and its mean is ``sum of values / number of values`` in them; the interval cuts
    ``(1 - confidence) / 2`` of the resampled means off at either end. After Efron and Tibshirani (1993), "An
    Introduction to the Bootstrap", chapters 8 and 13.

    Args:
        values: One value for each question.
        groups: What each question belongs to; every question its own group if all differ.
        confidence: The share of resampled means inside.
        num_resamples: How many resamples are drawn.
        seed: Decides the draws: equal arguments give equal intervals.

    Raises:
        ValueError: If there is no value, or not one group for each.

    Example:
        >>> bootstrap_interval([0.0, 100.0] * 50, groups=range(100))
        Interval(low=40.0, high=60.0)
    """
    table = np.column_stack([np.asarray(values, dtype=np.float64), np.ones(len(values))])
    sums = resampled_sums(table, groups, num_resamples, seed)
    return percentile_interval(sums[:, 0] / sums[:, 1], confidence)


def resampled_sums(
    values: NDArray[np.float64], groups: Sequence[Hashable], num_resamples: int = 1000, seed: int = 0
) -> NDArray[np.float64]:
    """Return the sums of K values over the items of each resample of groups, (R, K).

    What is no mean, such as an F1 of counts, is resampled by what it is made of.

    Args:
        values: (N, K), a row for each item.
        groups: What each item belongs to, as in :func:`bootstrap_interval`.
        num_resamples: R.
        seed: Decides the draws.

    Raises:
        ValueError: If there is no item, or not one group for each.
    """
    if not len(values) or len(values) != len(groups):
        raise ValueError(
            f"got {len(values)} values and {len(groups)} groups: one group is needed for each of 1 or more"
        )
    # In order of appearance, because hashes of text differ from process to process.
    group_index = {group: position for position, group in enumerate(dict.fromkeys(groups))}
    totals = np.zeros((len(group_index), values.shape[1]))
    np.add.at(totals, [group_index[group] for group in groups], values)
    generator = np.random.default_rng(seed)
    return np.stack(
        [totals[generator.integers(len(totals), size=len(totals))].sum(axis=0) for _ in range(num_resamples)]
    )


def percentile_interval(resampled: NDArray[np.float64], confidence: float = 0.95) -> Interval:
    """Return the interval that leaves ``(1 - confidence) / 2`` of resampled values, (R,), out at either end."""
    low, high = np.quantile(resampled, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(float(low), float(high))
