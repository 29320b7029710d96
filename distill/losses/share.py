"""Means over the batches of a step and of all processes, and each batch's share in them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from distill.distributed.processes import num_processes, sum_over_processes
from distill.types import Mean


@dataclass(frozen=True)
class Share:
    """What a batch of one of R processes holds of a mean over all of them.

    Attributes:
        loss: (), ``R * weight * total_r / sum over processes of count``, with its gradients. Its mean over the
            processes is ``weight * value`` where the step is one batch; so gradients that are averaged over processes,
            as DDP and FSDP do, are those of ``weight * value``. Where gradients of several batches make up a step,
            count and weight are summed over these: the gradients add up to those of one mean over all their items.
        value: (), the batch's own mean, ``sum over processes of total / sum of count``, detached and the same on each.
    """

    loss: Tensor
    value: Tensor


def share_means(
    means: Mapping[str, Mean], weight: float = 1.0, others: Sequence[Mapping[str, Tensor]] = ()
) -> dict[str, Share]:
    """Return each mean's :class:`Share`, 0 where nothing was counted; collective, in one message for all of them.

    A mean over tokens is not the mean of the batches' or processes' own means: these have different numbers of tokens.

    Args:
        means: The means over one batch.
        weight: The weight of this process's batches of the step; the processes' mean counts.
        others: The counts of the step's other batches, () each, on the CPU.
    """
    step = {name: mean.count for name, mean in means.items()}
    if others:
        for name, count in step.items():
            rest = torch.stack([counts[name] for counts in others]).sum()
            step[name] = count + rest.to(count.device, non_blocking=True)
    if num_processes() == 1:
        return {
            name: Share(Mean(weight * mean.total, step[name]).value, mean.value.detach())
            for name, mean in means.items()
        }
    own = [
        torch.stack((mean.total.detach().double(), mean.count.double(), step[name].double()))
        for name, mean in means.items()
    ]
    weights = torch.full((1, 3), weight, dtype=torch.float64, device=own[0].device)
    *sums, (summed_weight, _, _) = sum_over_processes(torch.cat((torch.stack(own), weights)))
    shares = {}
    for (name, mean), (total, count, step_count) in zip(means.items(), sums, strict=True):
        joined = Mean(summed_weight.to(mean.total.dtype) * mean.total, step_count.to(mean.count.dtype))
        value = Mean(total.to(mean.total.dtype), count.to(mean.count.dtype)).value
        shares[name] = Share(joined.value, value)
    return shares
