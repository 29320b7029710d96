"""The random numbers of a run, kept in its checkpoints."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

import lightning as L
import numpy as np
import torch
from lightning.pytorch.utilities import rank_zero_warn

from distill.distributed.processes import gather

#: Where a checkpoint keeps the state of every process.
KEY = "random_state"


class RandomState(L.Callback):
    """Lets a resumed run draw the random numbers, those of dropout first of all, that it would have drawn.

    Every checkpoint holds the state of each process; it is set before the first batch, as the last thing that happens.
    A run that is resumed with another number of processes draws others, and says so.
    """

    def __init__(self) -> None:
        self._restored: dict[str, Any] | None = None

    def on_save_checkpoint(self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        """Add the state of every process."""
        checkpoint[KEY] = gather(get_random_state(trainer.strategy.root_device))

    def on_load_checkpoint(self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        """Take this process's state; checkpoints of before have none."""
        states = checkpoint.get(KEY, [])
        if len(states) == trainer.world_size:
            self._restored = states[trainer.global_rank]
        elif states:
            rank_zero_warn(
                f"the checkpoint is of {len(states)} processes and this run has {trainer.world_size}: it goes on with "
                "other random numbers and another order of batches than it would have had"
            )

    def on_train_batch_start(self, trainer: L.Trainer, pl_module: Any, batch: Any, batch_idx: int) -> None:
        """Set the state, once."""
        if self._restored is not None:
            set_random_state(self._restored, trainer.strategy.root_device)
            self._restored = None


def get_random_state(device: torch.device) -> dict[str, Any]:
    """Return the state of the global generators of Python, NumPy and torch, as plain data and tensors.

    Of GPUs that of ``device`` alone: to ask another one would take memory there, beside its own process.
    """
    numpy_state: Any = np.random.get_state(legacy=True)  # noqa: NPY002 - what libraries draw from
    name, keys, *rest = numpy_state
    return {
        "python": random.getstate(),
        "numpy": [name, torch.from_numpy(keys.astype(np.int64)), *rest],
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state(device) if device.type == "cuda" else None,
    }


def set_random_state(state: Mapping[str, Any], device: torch.device) -> None:
    """Set what :func:`get_random_state` returned; the GPU's only where there was one and is one."""
    version, internal, gauss_next = state["python"]
    random.setstate((version, tuple(internal), gauss_next))
    name, keys, *rest = state["numpy"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), *rest))  # noqa: NPY002 - what libraries draw from
    torch.set_rng_state(state["torch"])
    if isinstance(state["cuda"], torch.Tensor) and device.type == "cuda":
        torch.cuda.set_rng_state(state["cuda"], device)
