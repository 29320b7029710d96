"""Means over the batches of all processes, and each process's share in them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from distill.distributed.processes import num_processes, sum_over_processes
from distill.types import Mean


@dataclass(frozen=True)
class Share:
    """What one of R processes holds of a mean over all of them.

    Attributes:
        loss: (), ``R * total_r / sum over processes of count``, with its gradients. Its mean over the processes is
            ``value``; so gradients that are averaged over processes, as DDP and FSDP do, are those of ``value``.
        value: (), ``sum of total / sum of count``, detached and the same on every process.
    """

    loss: Tensor
    value: Tensor


def share_means(means: Mapping[str, Mean]) -> dict[str, Share]:
    """Return each mean's :class:`Share`, 0 where nothing was counted; collective, in one message for all of them.

    A mean over tokens is not the mean of the processes' own means: these have different numbers of tokens. With one
    process both parts are the mean itself.
    """
    if num_processes() == 1:
        return {name: Share(mean.value, mean.value.detach()) for name, mean in means.items()}
    own = [torch.stack((mean.total.detach().double(), mean.count.double())) for mean in means.values()]
    sums = sum_over_processes(torch.stack(own))
    shares = {}
    for (name, mean), (total, count) in zip(means.items(), sums, strict=True):
        joined = Mean(num_processes() * mean.total, count.to(mean.count.dtype))
        shares[name] = Share(joined.value, Mean(total.to(mean.total.dtype), joined.count).value)
    return shares
