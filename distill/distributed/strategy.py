"""Training on several processes whose stages leave parts of the model idle."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from typing import Any

import torch
from lightning.pytorch.strategies import DDPStrategy
from torch import Tensor
from torch import distributed as dist

from distill.distributed.gradients import GradientAverage
from distill.types import UserError


class StagedDDP(DDPStrategy):
    """Data parallelism that averages, after the backward pass, the gradients that there are.

    A stage trains some parts of the module and leaves others idle: the head in one, the projections in another.
    PyTorch's ``DistributedDataParallel`` then has to search the graph in every step, and gives idle parameters a
    gradient of 0, with which AdamW decays them. Here the module is not wrapped: idle parameters keep no gradient, so
    every process does exactly what a single one would. Gradients that accumulate over batches are averaged once.

    Args:
        settings: Those of Lightning's ``DDPStrategy``.
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self._average: GradientAverage | None = None
        self._is_blocked = False

    def configure_ddp(self) -> None:
        """Give every process the first one's weights, and chances of its own."""
        module = self.lightning_module
        assert module is not None
        for tensor in chain(module.parameters(), module.buffers()):
            dist.broadcast(tensor.detach(), 0)
        self._average = GradientAverage(parameter for parameter in module.parameters() if parameter.requires_grad)
        if self.global_rank > 0:
            # Else dropout would leave out the same places on every process.
            torch.manual_seed(torch.initial_seed() + self.global_rank)

    @contextmanager
    def block_backward_sync(self) -> Iterator[None]:
        """Leave gradients as they are within: they accumulate over batches."""
        self._is_blocked = True
        try:
            yield
        finally:
            self._is_blocked = False

    def post_backward(self, closure_loss: Tensor) -> None:
        """Average the gradients, unless more are to be added to them."""
        if self._average is not None and not self._is_blocked:
            self._average()

    def save_checkpoint(self, checkpoint: dict[str, Any], filepath: Any, storage_options: Any = None) -> None:
        """Write a checkpoint on the first process; where that fails, every process does, instead of waiting for it.

        Raises:
            UserError: On the others, if the first process fails, which raises what it met.
        """
        failure: OSError | RuntimeError | None = None
        try:
            super().save_checkpoint(checkpoint, filepath, storage_options)
        except (OSError, RuntimeError) as error:
            failure = error
        said = self.broadcast(None if failure is None else str(failure))
        if failure is not None:
            raise failure
        if said is not None:
            raise UserError(f"the first process cannot save: {said}")
