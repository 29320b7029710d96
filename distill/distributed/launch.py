"""What the processes of a launch agree on before any of them has begun, and torch knows of none."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any, NamedTuple

from lightning.pytorch.plugins.environments import SLURMEnvironment
from torch.distributed.rendezvous import rendezvous

from distill.types import UserError

#: Where the first process leaves its word for those that Lightning starts from it.
_WORD = "DISTILL_FIRST_PROCESS_SAYS"

#: How long processes may take to start, on nodes that load the same files at once.
_PATIENCE = timedelta(minutes=10)

#: The stores of a launch, kept open: the first process serves them at the port where torch's own group meets later.
_stores: list[Any] = []


class Meeting(NamedTuple):
    """Where processes that a launcher has started by itself find each other.

    Attributes:
        rank: This process among them.
        size: How many there are.
        address: The host of the first one.
        port: A port there.
    """

    rank: int
    size: int
    address: str
    port: int


def meeting(num_nodes: int = 1) -> Meeting | None:
    """Return where this process meets the others; None where it is alone or another process has started it.

    Args:
        num_nodes: Nodes on each of which somebody has started one process, which starts those beside it.
    """
    said = os.environ
    if SLURMEnvironment.detect():
        slurm = SLURMEnvironment()
        return _met(slurm.global_rank(), slurm.world_size(), slurm.main_address, slurm.main_port)
    if {"RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"} <= said.keys():
        return _met(int(said["RANK"]), int(said["WORLD_SIZE"]), said["MASTER_ADDR"], int(said["MASTER_PORT"]))
    if num_nodes > 1 and not _is_started_by_another() and {"MASTER_ADDR", "MASTER_PORT"} <= said.keys():
        return _met(int(said.get("NODE_RANK", "0")), num_nodes, said["MASTER_ADDR"], int(said["MASTER_PORT"]))
    return None


def first_says(decide: Callable[[], Any], num_nodes: int = 1) -> Any:
    """Return what ``decide`` gives in the first process of a launch, in every one of its processes.

    The others do not decide: what they would find may have changed since. Collective before torch's process group.

    Args:
        decide: Returns plain data, as JSON has it.
        num_nodes: Nodes of the launch.

    Raises:
        UserError: What ``decide`` raises, in every process; or if they do not find each other.
    """
    place = meeting(num_nodes)
    if place is None and _is_started_by_another():
        if _WORD not in os.environ:
            raise UserError("this launcher tells processes nothing of each other: start them with torchrun or srun")
        return _meant(json.loads(os.environ[_WORD]))
    if place is None or place.rank == 0:
        word = json.dumps(_attempt(decide))
        if place is not None:
            _open_store(place).set(f"{_WORD}-{len(_stores)}", word)
    else:
        word = _open_store(place).get(f"{_WORD}-{len(_stores)}").decode()
    os.environ[_WORD] = word
    return _meant(json.loads(word))


def _met(rank: int, size: int, address: str, port: int) -> Meeting | None:
    return Meeting(rank, size, address, port) if size > 1 else None


def _is_started_by_another() -> bool:
    """Whether Lightning has started this process, from one that runs the same command."""
    return int(os.environ.get("LOCAL_RANK", "0")) > 0


def _open_store(place: Meeting) -> Any:
    try:
        url = f"tcp://{place.address}:{place.port}"
        store, _, _ = next(rendezvous(url, place.rank, place.size, timeout=_PATIENCE))
    except RuntimeError as error:
        raise UserError(
            f"process {place.rank} of {place.size} does not find the others at {place.address}:{place.port}: "
            f"{str(error).splitlines()[0]}"
        ) from error
    _stores.append(store)
    return store


def _attempt(decide: Callable[[], Any]) -> dict[str, Any]:
    try:
        return {"decided": decide()}
    except UserError as error:
        return {"mistake": str(error)}


def _meant(word: Mapping[str, Any]) -> Any:
    if "mistake" in word:
        raise UserError(word["mistake"])
    return word["decided"]
