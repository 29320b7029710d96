"""How far a mean over questions may be off, given how few questions there are."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import NamedTuple

import numpy as np


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
    if not values or len(values) != len(groups):
        raise ValueError(
            f"got {len(values)} values and {len(groups)} groups: one group is needed for each of 1 or more"
        )
    # In order of appearance, because hashes of text differ from process to process.
    group_index = {group: position for position, group in enumerate(dict.fromkeys(groups))}
    group_of = np.array([group_index[group] for group in groups])
    totals = np.bincount(group_of, weights=np.asarray(values, dtype=np.float64))
    counts = np.bincount(group_of)
    generator = np.random.default_rng(seed)
    means = np.empty(num_resamples)
    for resample in range(num_resamples):
        drawn = generator.integers(len(totals), size=len(totals))
        means[resample] = totals[drawn].sum() / counts[drawn].sum()
    low, high = np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(float(low), float(high))
