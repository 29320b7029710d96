"""How many processes a launcher has started, so that no configuration has to repeat it."""

from __future__ import annotations

import os
from typing import NamedTuple

from lightning.pytorch.plugins.environments import SLURMEnvironment, TorchElasticEnvironment


class Layout(NamedTuple):
    """Processes as a launcher has laid them out.

    Attributes:
        num_devices: Processes on each node, each with a device of its own.
        num_nodes: Nodes.
    """

    num_devices: int
    num_nodes: int


def launched_layout() -> Layout | None:
    """Return what ``torchrun`` or ``srun`` has started this process among; None where neither has."""
    if TorchElasticEnvironment.detect():
        num_devices = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
        return Layout(num_devices, int(os.environ["WORLD_SIZE"]) // num_devices)
    if SLURMEnvironment.detect():
        num_nodes = int(os.environ.get("SLURM_NNODES", "1"))
        return Layout(int(os.environ["SLURM_NTASKS"]) // num_nodes, num_nodes)
    return None
