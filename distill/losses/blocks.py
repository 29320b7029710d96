"""Sums over windows whose parts are too large to be kept for the backward pass."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

#: Numbers in the largest tensor of a block: what a processor's cache holds, and enough to keep a GPU busy.
_BLOCK_NUMBERS = {"cpu": 2**20}
_BLOCK_NUMBERS_ELSEWHERE = 2**27


def sum_over_blocks(
    function: Callable[..., Tensor], trained: Sequence[Tensor], others: Sequence[Tensor], numbers: int
) -> Tensor:
    """Return ``sum over blocks of windows of function(*trained, *others)``, (), computed a block at a time.

    The gradients are computed along with the value, block by block, so that nothing but they waits for the backward
    pass: S x S maps of one block are held at once, and none of them twice. There are no second derivatives.

    Args:
        function: Returns a sum over windows, (), given a block of every tensor.
        trained: What gets gradients, each (B, ...).
        others: What gets none, each (B, ...).
        numbers: How many numbers the largest tensor within ``function`` holds for each window.
    """
    most = _BLOCK_NUMBERS.get(trained[0].device.type, _BLOCK_NUMBERS_ELSEWHERE)
    block_size = max(1, most // max(1, numbers))
    apply: Callable[..., Tensor] = _SumOverBlocks.apply
    return apply(function, block_size, len(trained), *trained, *others)


class _SumOverBlocks(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, function: Callable[..., Tensor], block_size: int, num_trained: int, *tensors: Tensor
    ) -> Tensor:
        is_trained = any(ctx.needs_input_grad)
        gradients = [torch.zeros_like(tensor) for tensor in tensors[:num_trained]] if is_trained else []
        totals = []
        # At least one block, so that nothing to sum over still has a value of the right kind.
        for start in range(0, max(1, len(tensors[0])), block_size):
            parts = [tensor[start : start + block_size].detach() for tensor in tensors]
            with torch.set_grad_enabled(is_trained):
                own = [part.requires_grad_(is_trained) for part in parts[:num_trained]]
                total = function(*own, *parts[num_trained:])
            if is_trained:
                for gradient, part in zip(gradients, torch.autograd.grad(total, own), strict=True):
                    gradient[start : start + block_size] = part
            totals.append(total.detach())
        ctx.save_for_backward(*gradients)
        ctx.num_others = len(tensors) - num_trained
        return torch.stack(totals).sum()

    @staticmethod
    def backward(ctx: Any, *outputs: Tensor) -> tuple[Tensor | None, ...]:
        gradients = (outputs[0].to(gradient.dtype) * gradient for gradient in ctx.saved_tensors)
        return None, None, None, *gradients, *[None] * ctx.num_others
