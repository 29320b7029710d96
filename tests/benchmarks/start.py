"""How long a run takes to begin: from its models being built to its first step, at the first start and at the next.

    python -m tests.benchmarks.start --output start.json
    python -m tests.benchmarks.start --settings '[--config, mine.yaml]' --output start.json

The first start cuts the texts into windows and stores them; a later one finds them. Before the first step come the
check of the teacher on validation questions, the measurement of the processor's peak, and what a stage prepares of its
teachers: their logits stored, or found and checked. Each start is a process of its own, with a cache that only these
have, and ends where its first step would compute.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import lightning as L
from rich.console import Console
from rich.table import Table

from distill.entry import run_function
from distill.files import write_json
from distill.reporting.environment import describe_environment

ROOT = Path(__file__).parents[2]
PARTS = ("command to models", "models to first step")


class StartClock(L.Callback):
    """Writes down when the models are built and when the first step computes, and ends the run there.

    Args:
        file: Where the seconds since the process was started go.
        began: The time at which it was, of ``time.time``.
    """

    def __init__(self, file: str, began: float) -> None:
        self.file, self.began = Path(file), began
        self._built = 0.0

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Note the time, before any other callback of the run."""
        self._built = time.time()

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Take the place of the first step: the module prepares a stage behind all callbacks."""
        pl_module.training_step = self._end  # type: ignore[method-assign]

    def _end(self, *_: Any) -> None:
        write_json(self.file, dict(zip(PARTS, (self._built - self.began, time.time() - self._built), strict=True)))
        raise SystemExit(0)


def time_start(settings: list[str], folder: Path) -> dict[str, float]:
    """Return the seconds of each part of one start, with whatever earlier ones left under the folder."""
    file = folder / "seconds.json"
    file.unlink(missing_ok=True)
    command = [
        sys.executable, str(ROOT / "train.py"), "fit", *settings, f"--data.cache_dir={folder / 'cache'}",
        "--trainer.callbacks+=tests.benchmarks.start.StartClock",
        f"--trainer.callbacks.file={file}", f"--trainer.callbacks.began={time.time()}",
    ]  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "WANDB_MODE": "disabled"}
    subprocess.run(command, cwd=folder, env=environment, check=True, stdout=subprocess.DEVNULL)
    seconds: dict[str, float] = json.loads(file.read_text(encoding="utf-8"))
    return seconds


def run(output: str = "start.json", settings: list[str] | None = None, starts: int = 3) -> None:
    """Print the table and write it as JSON.

    Args:
        output: JSON file.
        settings: Arguments of ``train.py fit``; the default run's when left out.
        starts: How many, the first one included.
    """
    arguments = settings or ["--config", str(ROOT / "configs" / "distill.yaml")]
    with tempfile.TemporaryDirectory() as folder:
        seconds = [time_start(arguments, Path(folder)) for _ in range(starts)]
    table = Table("start", *(f"{part}, s" for part in PARTS), title="Until the first step")
    for number, parts in enumerate(seconds, start=1):
        table.add_row(str(number), *(f"{parts[part]:.2f}" for part in PARTS))
    Console().print(table)
    write_json(Path(output), {"environment": describe_environment("cpu"), "settings": arguments, "seconds": seconds})


if __name__ == "__main__":
    run_function(run)
