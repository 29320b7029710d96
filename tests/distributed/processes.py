"""Running a function on several processes that know of each other, as a launcher would start them."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import distributed as dist
from torch import multiprocessing


def run_processes(function: Callable[..., Any], count: int, folder: Path, *args: Any) -> list[Any]:
    """Return what ``function(*args)`` gives on each of ``count`` new processes, in the order of their ranks."""
    folder.mkdir(parents=True, exist_ok=True)
    multiprocessing.spawn(_run, (count, str(folder), function, args), nprocs=count)
    return [torch.load(folder / f"{rank}.pt", weights_only=False) for rank in range(count)]


def _run(rank: int, count: int, folder: str, function: Callable[..., Any], args: tuple[Any, ...]) -> None:
    torch.set_num_threads(1)
    # What Lightning looks for in order to start no processes of its own.
    os.environ.update(LOCAL_RANK=str(rank), NODE_RANK="0")
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=count)
    torch.save(function(*args), f"{folder}/{rank}.pt")
    dist.destroy_process_group()
