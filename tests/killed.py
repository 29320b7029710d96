"""Runs that end in the middle of a step, as if they had been killed there."""

from __future__ import annotations

import lightning as L


class KilledError(Exception):
    """What ends such a run."""


class KillAt(L.Callback):
    """Ends the run within the first step that follows so many, wherever that is."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_before_optimizer_step(self, trainer, pl_module, optimizer) -> None:
        if trainer.global_step == self.step:
            raise KilledError
