"""Where a run's files go."""

from __future__ import annotations

from pathlib import Path

import lightning as L


def run_folder(trainer: L.Trainer) -> Path | None:
    """Return the folder of the run, where its files go; nothing in a ``fast_dev_run``, which leaves no trace.

    Must be called on every process.
    """
    if trainer.fast_dev_run:
        return None
    return Path(trainer.log_dir or trainer.default_root_dir)


def task_folder(folder: Path, task: str | None) -> Path:
    """Return where a task's own files go: the run's folder, or one for each task of a run of several."""
    return folder if task is None else folder / "tasks" / task
