"""How a run is laid out over processes: as a launcher has started them, or as the configuration says."""

from __future__ import annotations

import os
from collections.abc import Mapping, MutableMapping
from typing import Any, NamedTuple

import torch
from lightning.pytorch.plugins.environments import SLURMEnvironment, TorchElasticEnvironment
from lightning.pytorch.strategies import DeepSpeedStrategy, FSDPStrategy, ModelParallelStrategy

from distill.distributed.strategy import StagedDDP
from distill.types import UserError

#: How the names of Lightning's strategies begin that cut models up.
_SHARDING = ("fsdp", "deepspeed", "model_parallel")


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


def lay_out(trainer: MutableMapping[str, Any]) -> None:
    """Complete a Trainer's settings: devices and nodes as launched, unless they are given, and the strategy.

    Raises:
        UserError: If the strategy is one that cuts models up.
    """
    refuse_sharding(trainer.get("strategy"))
    if (layout := launched_layout()) is not None:
        if trainer.get("devices") == "auto":
            trainer["devices"] = layout.num_devices
        if trainer.get("num_nodes") == 1:
            trainer["num_nodes"] = layout.num_nodes
    if trainer.get("strategy") == "auto" and _several_processes(trainer):
        trainer["strategy"] = StagedDDP()


def refuse_sharding(strategy: Any) -> None:
    """Refuse strategies that cut models up, before Lightning says on which devices they would run.

    Args:
        strategy: A strategy, or the name of one.

    Raises:
        UserError: If the strategy is one.
    """
    name = strategy if isinstance(strategy, str) else type(strategy).__name__
    is_one = isinstance(strategy, FSDPStrategy | ModelParallelStrategy | DeepSpeedStrategy)
    if is_one or name.startswith(_SHARDING):
        raise UserError(
            f"trainer.strategy: {name} would cut up the student, which is small, and never reach the teacher, which is "
            "no part of the module; leave it out, and hold a large teacher in model.init_args.teacher_dtype bfloat16"
        )


def _several_processes(trainer: Mapping[str, Any]) -> bool:
    """Whether a trainer configured so would run on several devices."""
    devices = trainer.get("devices")
    if devices in ("auto", -1, "-1", None):
        count = torch.cuda.device_count() if trainer.get("accelerator") in ("auto", "gpu", "cuda") else 1
    else:
        if not isinstance(devices, list) and not str(devices).lstrip("-").isdigit():
            raise UserError(f"trainer.devices: {devices!r} is no number, list or 'auto'")
        count = len(devices) if isinstance(devices, list) else int(devices)
    return count > 1 or (trainer.get("num_nodes") or 1) > 1
