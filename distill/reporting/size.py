"""How big a model is."""

from __future__ import annotations

import torch
from torch import nn


def num_parameters(model: nn.Module) -> int:
    """Return the number of parameters, frozen ones included and tied ones counted once."""
    return sum(parameter.numel() for parameter in model.parameters())


def size_bytes(model: nn.Module, dtype: torch.dtype | None = None) -> int:
    """Return the bytes of the model's tensors in a safetensors file (its header, some kilobytes, not included).

    Parameters and saved buffers count, tied ones once.

    Args:
        model: The model.
        dtype: What floating-point tensors are stored in; each one's own when left out.
    """
    # Tied tensors share their storage but differ as entries of the state.
    unique = {(tensor.data_ptr(), tensor.shape): tensor for tensor in model.state_dict().values()}
    return sum(
        tensor.numel() * (dtype if dtype is not None and tensor.is_floating_point() else tensor.dtype).itemsize
        for tensor in unique.values()
    )
