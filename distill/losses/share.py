"""Means over the batches of a step and of all processes, and each batch's share in them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import torch
from torch import Tensor

from distill.distributed.processes import num_processes, sum_over_processes
from distill.losses.objective import Objective
from distill.types import AverageBatch, Batch, Mean


@dataclass(frozen=True)
class Share:
    """What a batch of one of R processes holds of a mean over all of them.

    Attributes:
        loss: (), ``R * N * total_r / sum over processes and batches of count``, with its gradients, where the
            gradients of N batches make up a step. Averaged over processes, as DDP and FSDP do, and over the N batches,
            as the Trainer does, they are those of one mean over all items of the step. Where batches hold more or less
            on purpose it is ``total_r / average count of a process's batch``: averaged over the steps of a pass too,
            they are those of one mean over all items of the pass.
        value: (), the batch's own mean, ``sum over processes of total / sum of count``, detached and the same on each.
    """

    loss: Tensor
    value: Tensor


def share_means(
    means: Mapping[str, Mean],
    others: Sequence[Mapping[str, Tensor]] = (),
    weight: float = 1.0,
    averages: Mapping[str, float] = MappingProxyType({}),
) -> dict[str, Share]:
    """Return each mean's :class:`Share`, 0 where nothing was counted; collective, in one message for all of them.

    A mean over tokens is not the mean of the batches' or processes' own means: these have different numbers of tokens.

    Args:
        means: The means over one batch.
        others: The counts of the step's other batches, () each, on the CPU.
        weight: What the Trainer divides by, over the batches of the step, which are fewer at the end of an epoch.
        averages: The average counts of a process's batches, where they hold more or less on purpose.
    """
    step = {name: mean.count for name, mean in means.items()}
    if others:
        for name, count in step.items():
            rest = torch.stack([counts[name] for counts in others]).sum()
            step[name] = count + rest.to(count.device, non_blocking=True)
    values = {name: mean.value.detach() for name, mean in means.items()}
    if num_processes() > 1:
        own = [(mean.total.detach(), mean.count, step[name]) for name, mean in means.items()]
        sums = sum_over_processes(torch.stack([torch.stack([part.double() for part in parts]) for parts in own]))
        for (name, mean), (total, count, step_count) in zip(means.items(), sums, strict=True):
            values[name] = Mean(total.to(mean.total.dtype), count.to(mean.count.dtype)).value
            step[name] = step_count.to(mean.count.dtype)
    factor = weight * num_processes() * (1 + len(others))
    losses = {name: Mean(factor * mean.total, step[name]).value for name, mean in means.items()}
    # What the sample of an average batch does not hold at all is as rare as not to matter; it stays the batch's own.
    losses |= {name: means[name].total / average for name, average in averages.items() if average}
    return {name: Share(loss, values[name]) for name, loss in losses.items()}


class StepCounts:
    """What each active term counts in the other batches of a step: each is counted once, not once for every batch."""

    def __init__(self) -> None:
        self._weights: Mapping[str, float] = {}
        # With the batch, so that no later one has its identity.
        self._counted: dict[int, tuple[Batch, dict[str, Tensor]]] = {}

    def __call__(
        self, others: Sequence[Batch], weights: Mapping[str, float], objective: Objective
    ) -> list[dict[str, Tensor]]:
        """Return name to count for every batch, of the terms with a weight above 0."""
        known = self._counted if weights == self._weights else {}
        self._weights = dict(weights)
        self._counted = {
            id(other): known.get(id(other)) or (other, objective.counts(other, weights)) for other in others
        }
        return [self._counted[id(other)][1] for other in others]


class AverageCounts:
    """What each active term counts in an average batch; counted once for each stage and kind of data."""

    def __init__(self) -> None:
        self._average: AverageBatch | None = None
        self._weights: Mapping[str, float] = {}
        self._counts: dict[str, float] = {}

    def __call__(
        self, average: AverageBatch | None, weights: Mapping[str, float], objective: Objective
    ) -> dict[str, float]:
        """Return name to count, of the terms with a weight above 0; nothing where no batch is an average one."""
        if average is None:
            return {}
        if average is not self._average or weights != self._weights:
            self._counts = average.counts(lambda batch: objective.counts(batch, weights))
            self._average, self._weights = average, dict(weights)
        return self._counts
