"""Which trials are not worth their time: successive halving by score, among the trials that are no slower."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from distill.sweeps.spec import Hyperband

#: Latencies that differ by less than this factor count as equal: timings of one model differ as much.
SAME_LATENCY = 1.1


@dataclass(frozen=True)
class Progress:
    """How far a trial has come.

    Attributes:
        scores: The metric each time it was logged, oldest first.
        latency_ms: Median latency of its student, once it was measured.
    """

    scores: tuple[float, ...] = ()
    latency_ms: float | None = None


def is_hopeless(own: Progress, others: Sequence[Progress], rule: Hyperband, maximize: bool) -> bool:
    """Whether a trial should be stopped, by the highest rung that it has reached.

    There its score is compared with those of the other trials that reached the rung and whose student is no slower, as
    far as both latencies are known: a small, fast student is never stopped because a large one scores better. Of these
    n, itself included, more than ``n / eta`` must be better for it to be stopped; nothing is decided among fewer than
    ``eta``.

    After asynchronous successive halving (Li et al. 2020, "A System for Massively Parallel Hyperparameter Tuning",
    algorithm 2), with rungs and threshold as W&B computes them; latency is our addition.
    """
    reached = [rung for rung in rule.rungs if rung <= len(own.scores)]
    if not reached:
        return False
    place, sign = reached[-1] - 1, -1 if maximize else 1
    rivals = [other for other in others if len(other.scores) > place and _is_no_slower(other, own)]
    costs = sorted(sign * progress.scores[place] for progress in (*rivals, own))
    return len(costs) >= rule.eta and sign * own.scores[place] > costs[int(len(costs) / rule.eta)]


def _is_no_slower(other: Progress, own: Progress) -> bool:
    if other.latency_ms is None or own.latency_ms is None:
        return True
    return other.latency_ms <= own.latency_ms * SAME_LATENCY
