"""What a training costs, whatever else the machine is doing."""

from __future__ import annotations

import time
from typing import Any

import lightning as L

from distill.files import write_json
from distill.reporting.files import run_folder

#: The file in the run's folder.
COST_FILE = "cost.json"


class TrainingClock(L.Callback):
    """Adds up the processor's time from building the models to the last step, and writes it to ``cost.json``.

    Counted are taking over the teacher's weights, storing its logits, and every step with its data; not counted are
    cutting texts into windows, which all arms share, and validation. On one thread of an idle machine this is the time
    on the wall; on a busy one, what the wall would have shown.

    The total is kept in checkpoints, so that of a resumed run is that of the whole.
    """

    def __init__(self) -> None:
        self.seconds = 0.0
        self._since = 0.0

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Start, before the models are built; windows are cut by now."""
        self._since = time.process_time()

    def on_train_batch_end(self, trainer: L.Trainer, *_: Any) -> None:
        """Add what has passed since the last step."""
        now = time.process_time()
        self.seconds += now - self._since
        self._since = now

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Leave the validation out."""
        self._since = time.process_time()

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Write the total."""
        folder = run_folder(trainer)
        if folder is not None:
            write_json(folder / COST_FILE, {"seconds": self.seconds, "num_steps": trainer.global_step})

    def state_dict(self) -> dict[str, Any]:
        """Return the seconds so far."""
        return {"seconds": self.seconds}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from an interrupted run's."""
        self.seconds = state_dict["seconds"]
