"""Joining what several processes found out about their own items."""

from __future__ import annotations

from typing import TypeVar

from torch import distributed as dist

Found = TypeVar("Found")


def gather_items(items: dict[str, Found], what: str) -> dict[str, Found]:
    """Return the items of all processes by identifier; collective.

    Args:
        items: This process's.
        what: What an item is called in messages.

    Raises:
        RuntimeError: If an item is on several processes.
    """
    if not (dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1):
        return items
    parts: list[dict[str, Found]] = [{} for _ in range(dist.get_world_size())]
    dist.all_gather_object(parts, items)
    gathered: dict[str, Found] = {}
    for part in parts:
        twice = gathered.keys() & part.keys()
        if twice:
            raise RuntimeError(f"{what} {min(twice)!r} has windows on several processes: keep them on one")
        gathered |= part
    return gathered
