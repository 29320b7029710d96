"""What the Trainer is given so that its own saving, loading and requeueing are safe."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lightning.fabric.plugins.environments import ClusterEnvironment, SLURMEnvironment
from lightning.fabric.plugins.io import CheckpointIO

from distill.checkpoints import load_checkpoint, save_checkpoint


class SafeCheckpointIO(CheckpointIO):
    """Writes checkpoints whole or not at all and checks them when they are read; see :mod:`distill.checkpoints`.

    Give it to the Trainer among its ``plugins``; the command line does so by itself.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Write a checkpoint, on the first process."""
        save_checkpoint(Path(path), checkpoint)

    def load_checkpoint(
        self, path: str | Path, map_location: Any = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Read a checkpoint onto the CPU; tensors and plain data alone, whatever ``weights_only`` says."""
        return load_checkpoint(Path(path))

    def remove_checkpoint(self, path: str | Path) -> None:
        """Remove a checkpoint that a better one replaces."""
        Path(path).unlink(missing_ok=True)


def with_safe_plugins(configured: Any) -> list[Any]:
    """Return the trainer's plugins, with safe checkpoints and, under SLURM, without Lightning's own requeueing.

    That one saves within the signal, in the middle of a step.
    """
    plugins = list(configured) if isinstance(configured, list) else [configured] if configured else []
    if not any(isinstance(plugin, CheckpointIO) for plugin in plugins):
        plugins.append(SafeCheckpointIO())
    if SLURMEnvironment.detect() and not any(isinstance(plugin, ClusterEnvironment) for plugin in plugins):
        plugins.append(SLURMEnvironment(auto_requeue=False))
    return plugins
