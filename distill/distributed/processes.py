"""What the processes of a run tell each other; alone, a process hears itself."""

from __future__ import annotations

from typing import TypeVar

from torch import Tensor
from torch import distributed as dist

Said = TypeVar("Said")


def num_processes() -> int:
    """Return how many processes run together, 1 where nothing was started."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def sum_over_processes(values: Tensor) -> Tensor:
    """Return the sum of a tensor over all processes, detached, in its own dtype; collective."""
    if num_processes() == 1:
        return values.detach()
    total = values.detach().clone()
    dist.all_reduce(total)
    return total


def gather(said: Said) -> list[Said]:
    """Return what every process says, in the order of their ranks; collective."""
    if num_processes() == 1:
        return [said]
    everything: list[Said] = [said] * num_processes()
    dist.all_gather_object(everything, said)
    return everything
