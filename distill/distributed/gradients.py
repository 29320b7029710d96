"""Averaging the gradients of all processes after the backward pass, those that exist and no others."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import torch
from torch import Tensor, nn
from torch import distributed as dist

from distill.distributed.processes import num_processes, sum_over_processes

#: Bytes that are sent at once: few enough messages that none is too small, and large ones on their way early.
BUCKET_BYTES = 2**25


def buckets(parameters: Sequence[nn.Parameter], max_bytes: int = BUCKET_BYTES) -> Iterator[list[nn.Parameter]]:
    """Yield parameters in runs of one dtype whose gradients take ``max_bytes`` at most, a larger one by itself."""
    bucket: list[nn.Parameter] = []
    size = 0
    for parameter in parameters:
        added = parameter.numel() * parameter.element_size()
        if bucket and (size + added > max_bytes or parameter.dtype != bucket[0].dtype):
            yield bucket
            bucket, size = [], 0
        bucket.append(parameter)
        size += added
    if bucket:
        yield bucket


class GradientAverage:
    """Replaces each gradient by its mean over all processes: ``g <- 1/R * sum over processes r of g_r``.

    A parameter that a stage leaves idle has no gradient on any process, and is neither sent nor given one, so that an
    optimizer passes it over as it does in one process. One that only some processes have a gradient of, since their
    batches hold nothing for it, counts as 0 on the others, as in one process with all the batches. Which is which can
    differ from step to step, so every step begins with one small message: how many have a gradient of each parameter.
    It is read at once, a wait for the backward pass. Remembering the answer for a stage would spare it, but a loss of
    one's own may leave out a parameter in one batch and not in the next, and then processes would average different
    lists and wait for each other forever; no process can tell by its own gradients alone that the list still holds.

    Args:
        parameters: Those that may be trained, in the same order on every process.
    """

    def __init__(self, parameters: Iterable[nn.Parameter]) -> None:
        self._parameters = list(parameters)
        self._buckets: dict[tuple[int, ...], list[list[nn.Parameter]]] = {}

    def __call__(self) -> None:
        """Average; collective."""
        if not self._parameters:
            return
        trained = self._trained_anywhere()
        if trained not in self._buckets:
            self._buckets[trained] = list(buckets([self._parameters[index] for index in trained]))
        sent = []
        for bucket in self._buckets[trained]:
            flat = torch.cat([_gradient(parameter).flatten() for parameter in bucket])
            sent.append((bucket, flat, dist.all_reduce(flat, async_op=True)))
        for bucket, flat, work in sent:
            work.wait()
            flat /= num_processes()
            parts = torch.split(flat, [parameter.numel() for parameter in bucket])
            for parameter, part in zip(bucket, parts, strict=True):
                _gradient(parameter).copy_(part.view_as(parameter))

    def _trained_anywhere(self) -> tuple[int, ...]:
        """Return the parameters that any process has a gradient of, and see to it that this one has them too."""
        own = [parameter.grad is not None for parameter in self._parameters]
        counts = sum_over_processes(torch.tensor(own, dtype=torch.int32, device=self._parameters[0].device)).tolist()
        for parameter, count, has_gradient in zip(self._parameters, counts, own, strict=True):
            if count and not has_gradient:
                parameter.grad = torch.zeros_like(parameter)
        return tuple(index for index, count in enumerate(counts) if count)


def _gradient(parameter: nn.Parameter) -> Tensor:
    assert parameter.grad is not None
    return parameter.grad
