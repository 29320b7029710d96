"""How much memory one call of a model needs."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class LiveTensors(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the bytes of the tensors that operators return and that are still alive, and the most there ever were.

    Args:
        known: Tensors that were there before, whose memory does not count.
    """

    def __init__(self, known: Iterable[Tensor] = ()) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.num_bytes = 0
        self.peak = 0
        self._alive: dict[int, weakref.ref[torch.UntypedStorage]] = {}
        for tensor in known:
            self._follow(tensor.untyped_storage(), num_bytes=0)

    def __torch_dispatch__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run the operator and take note of what it returns."""
        output = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(output):
            if isinstance(leaf, Tensor):
                storage = leaf.untyped_storage()
                self._follow(storage, storage.nbytes())
        self.peak = max(self.peak, self.num_bytes)
        return output

    def _follow(self, storage: torch.UntypedStorage, num_bytes: int) -> None:
        address = storage._cdata
        if address in self._alive:
            return  # a view, or changed in place

        def release(_: weakref.ref[torch.UntypedStorage]) -> None:
            del self._alive[address]
            self.num_bytes -= num_bytes

        self._alive[address] = weakref.ref(storage, release)
        self.num_bytes += num_bytes


def peak_memory(model: nn.Module, inputs: Mapping[str, Tensor], device: torch.device) -> int | None:
    """Return the most that one call allocates beyond the weights and whatever else was allocated, in bytes.

    On CUDA it is the allocator's own count. On a CPU, whose allocator keeps none, it is the live tensors that operators
    have returned, without what a kernel needs inside. Elsewhere nothing is known: None.
    """
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        model(**inputs)
        torch.cuda.synchronize(device)
        return torch.cuda.max_memory_allocated(device) - before
    if device.type != "cpu":
        return None
    with LiveTensors([*model.parameters(), *model.buffers(), *inputs.values()]) as tensors:
        model(**inputs)
    return tensors.peak
