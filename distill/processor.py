"""What a run owes to the processor it is on: the precision and padding that are fast there, and what wastes no time."""

from __future__ import annotations

import ctypes
import platform
from typing import Literal

import torch

#: What the lengths of batches are rounded up to a multiple of, wherever nothing finer is known to be as good.
LENGTH_MULTIPLE = 32
#: The same where a new shape costs nothing: as much as vector units like.
FREE_LENGTH_MULTIPLE = 8

#: Numbers of glibc's malloc.h.
_M_TRIM_THRESHOLD = -1
_M_MMAP_MAX = -4


def prepare_processor() -> None:
    """Spare this process the two slow paths that training on a CPU falls into.

    - Denormal numbers count as 0. Adam's moments of rarely seen embedding rows decay into them, and CPUs handle them
      many times slower.
    - Freed memory is kept. The C library would give every large block back to the system, which then clears it page by
      page for the next operation: 150,000 page faults and a fifth to a third of the processor's time in a training step
      of 10 M parameters (32 x 128 tokens, bfloat16, one thread, glibc 2.36). The process stays as large as it was at
      its largest. Only glibc is told so, others are left alone.

    Call it on the thread that trains; the first setting is the thread's own.
    """
    torch.set_flush_denormal(True)
    if platform.libc_ver()[0] == "glibc":
        library = ctypes.CDLL(None)
        library.mallopt(_M_MMAP_MAX, 0)
        library.mallopt(_M_TRIM_THRESHOLD, -1)


def fast_precision(device_type: str) -> str:
    """Return the Trainer's precision that trains fastest on this machine: ``bf16-mixed`` or ``32-true``.

    Processors without bfloat16 units emulate it: a product of matrices took 70 to 190 times the time of float32 on an
    AVX2 machine.

    Args:
        device_type: ``cpu`` or ``cuda``; anything else trains in float32.
    """
    if device_type == "cuda":
        return "bf16-mixed" if torch.cuda.is_bf16_supported(including_emulation=False) else "32-true"
    if device_type == "cpu":
        # AMX, AVX-512 and Arm each have a name of their own for it.
        units = [available for name, available in torch.cpu.get_capabilities().items() if "bf16" in name]
        return "bf16-mixed" if any(units) else "32-true"
    return "32-true"


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error says that memory, of this or another device, does not hold what was asked for."""
    # What a CPU's allocator raises has no type of its own.
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in str(error)


def teacher_dtype(precision: str) -> Literal["float32", "bfloat16"]:
    """Return what the weights of a teacher are held in: bfloat16 where its products are bfloat16's anyway.

    Args:
        precision: The run's, as the Trainer names it; ``bf16-mixed`` and ``bf16-true`` are those.
    """
    return "bfloat16" if precision in ("bf16-mixed", "bf16-true") else "float32"


def prefer_fused(optimizer: torch.optim.Optimizer) -> torch.optim.Optimizer:
    """Let Adam and AdamW make their steps in one fused kernel, where nothing else was said; return the optimizer.

    The steps are the same but for rounding. Said of its groups and not of the optimizer as a whole, it leaves scaled
    losses and the clipping of gradients in float16 to the Trainer, as without it.
    """
    if isinstance(optimizer, torch.optim.Adam | torch.optim.AdamW):
        for group in optimizer.param_groups:
            chosen = any(group.get(name) for name in ("foreach", "capturable", "differentiable"))
            known = all(p.device.type in ("cpu", "cuda") and p.is_floating_point() for p in group["params"])
            if group.get("fused") is None and not chosen and known:
                group["fused"] = True
    return optimizer


def length_multiple(device_type: str, is_float32: bool) -> int:
    """Return what the lengths of batches are best rounded up to a multiple of: 8 in float32 on a CPU, elsewhere 32.

    In low precision every new shape makes a CPU keep kernels of its own (8.7 GB with free lengths against 3.6 GB with
    rounded ones at the same step), in float32 nothing.

    Args:
        device_type: As torch names it.
        is_float32: Whether models compute in float32 throughout.
    """
    return FREE_LENGTH_MULTIPLE if device_type == "cpu" and is_float32 else LENGTH_MULTIPLE
