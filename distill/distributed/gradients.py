"""Averaging the gradients of all processes after the backward pass, those that exist and no others."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import torch
from torch import Tensor, nn
from torch import distributed as dist

from distill.distributed.processes import gather, num_processes

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

    A parameter that a stage leaves idle has no gradient and is neither sent nor given one, so that an optimizer passes
    it over as it does in one process. Which these are follows from the stage alone; so the processes compare their
    lists when a list changes, and not in every step.

    Args:
        parameters: Those that may be trained, in the same order on every process.
    """

    def __init__(self, parameters: Iterable[nn.Parameter]) -> None:
        self._parameters = list(parameters)
        self._trained: list[int] = []
        self._buckets: list[list[nn.Parameter]] = []

    def __call__(self) -> None:
        """Average; collective.

        Raises:
            RuntimeError: If the processes have gradients of different parameters.
        """
        trained = [index for index, parameter in enumerate(self._parameters) if parameter.grad is not None]
        if trained != self._trained:
            self._agree(trained)
        sent = []
        for bucket in self._buckets:
            flat = torch.cat([_gradient(parameter).flatten() for parameter in bucket])
            sent.append((bucket, flat, dist.all_reduce(flat, async_op=True)))
        for bucket, flat, work in sent:
            work.wait()
            flat /= num_processes()
            parts = torch.split(flat, [parameter.numel() for parameter in bucket])
            for parameter, part in zip(bucket, parts, strict=True):
                _gradient(parameter).copy_(part.view_as(parameter))

    def _agree(self, trained: list[int]) -> None:
        lists = gather(trained)
        if any(other != lists[0] for other in lists):
            raise RuntimeError(f"processes have gradients of {[len(other) for other in lists]} different parameters")
        self._trained = trained
        self._buckets = list(buckets([self._parameters[index] for index in trained]))


def _gradient(parameter: nn.Parameter) -> Tensor:
    assert parameter.grad is not None
    return parameter.grad
