"""Which checkpoints a run keeps."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Protocol

import lightning as L
import torch
from lightning.pytorch.callbacks import ModelCheckpoint

from distill.callbacks.stages import StageSchedule
from distill.tasks.base import Score
from distill.types import UserError


class Scored(Protocol):
    """A task, or the module of a run: what has a score to choose by."""

    @property
    def main_score(self) -> Score:
        """The score to choose by."""
        ...


def best_rule(scored: Scored) -> str:
    """Return the rule by which a run's result is chosen, as reports state it."""
    return f"best validation {scored.main_score.label} within the final stage"


class LastCheckpoint(ModelCheckpoint):
    """Keeps ``checkpoints/last.ckpt``: the state after the latest epoch, to resume from.

    Args:
        every_n_epochs: How often it is written.
        every_n_minutes: Write it within epochs too, so long after it was written there last.
    """

    def __init__(self, every_n_epochs: int = 1, every_n_minutes: float | None = None) -> None:
        if every_n_minutes is not None and not every_n_minutes > 0:
            raise UserError(f"last_checkpoint.every_n_minutes must be more than 0, not {every_n_minutes}")
        super().__init__(
            filename="last",
            enable_version_counter=False,
            every_n_epochs=every_n_epochs,
            save_on_train_epoch_end=True,
        )
        # Not an argument of the base class beside the other, since that takes only one of them.
        self._train_time_interval = timedelta(minutes=every_n_minutes) if every_n_minutes is not None else None


class BestInFinalStage(ModelCheckpoint):
    """Keeps ``checkpoints/best.ckpt``: the best validation score of the final stage.

    Earlier stages train other objectives, so a score that they happen to reach is not a result; nor is one of a final
    stage that compares layers alone and leaves the head as it was: nothing is kept of such a run.

    Args:
        monitor: The logged score to compare; the task's main score when left out. Its direction is the task's, and
            more is better for a score that the task does not list.
    """

    def __init__(self, monitor: str | None = None) -> None:
        super().__init__(
            monitor=monitor,
            mode="max",
            filename="best",
            enable_version_counter=False,
            # Saves after validation and at no other time, so that the stage can be asked.
            save_on_train_epoch_end=False,
        )

    def setup(self, trainer: L.Trainer, pl_module: Any, stage: str) -> None:
        """Take the score, unless one was named, and its direction from the task."""
        super().setup(trainer, pl_module, stage)
        self.monitor: str | None = self.monitor or f"val/{pl_module.main_score.name}"
        falling = {f"val/{score.name}" for score in pl_module.headline if not score.higher_is_better}
        if self.monitor in falling and self.mode == "max":
            self.mode: str = "min"
            self.kth_value = torch.tensor(torch.inf)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on with the best score so far; Lightning alone would forget it when the resumed run has a new folder."""
        super().load_state_dict({**state_dict, "dirpath": self.dirpath})

    def on_validation_end(self, trainer: L.Trainer, pl_module: Any) -> None:
        """Compare and save, if the final stage is running."""
        schedule = next((c for c in trainer.callbacks if isinstance(c, StageSchedule)), None)  # type: ignore[attr-defined]
        active = getattr(pl_module, "active_stage", None)
        is_final = schedule is None or active is None or active.index == len(schedule.stages) - 1
        if is_final and pl_module.trains_head:
            super().on_validation_end(trainer, pl_module)
