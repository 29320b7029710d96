"""Which checkpoints a run keeps."""

from __future__ import annotations

from typing import Any

import lightning as L
from lightning.pytorch.callbacks import ModelCheckpoint

from distill.callbacks.stages import StageSchedule

#: The rule by which a run's result is chosen, as reports state it.
BEST_RULE = "best validation F1 within the final stage"


class LastCheckpoint(ModelCheckpoint):
    """Keeps ``checkpoints/last.ckpt``: the state after the latest epoch, to resume from.

    Args:
        every_n_epochs: How often it is written.
    """

    def __init__(self, every_n_epochs: int = 1) -> None:
        super().__init__(
            filename="last",
            enable_version_counter=False,
            every_n_epochs=every_n_epochs,
            save_on_train_epoch_end=True,
        )


class BestInFinalStage(ModelCheckpoint):
    """Keeps ``checkpoints/best.ckpt``: the highest validation score of the final stage.

    Earlier stages train other objectives, so a score that they happen to reach is not a result.

    Args:
        monitor: The score to compare; higher is better.
    """

    def __init__(self, monitor: str = "val/f1") -> None:
        super().__init__(
            monitor=monitor,
            mode="max",
            filename="best",
            enable_version_counter=False,
            # Saves after validation and at no other time, so that the stage can be asked.
            save_on_train_epoch_end=False,
        )

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on with the best score so far; Lightning alone would forget it when the resumed run has a new folder."""
        super().load_state_dict({**state_dict, "dirpath": self.dirpath})

    def on_validation_end(self, trainer: L.Trainer, pl_module: Any) -> None:
        """Compare and save, if the final stage is running."""
        schedule = next((c for c in trainer.callbacks if isinstance(c, StageSchedule)), None)  # type: ignore[attr-defined]
        active = getattr(pl_module, "active_stage", None)
        if schedule is None or active is None or active.index == len(schedule.stages) - 1:
            super().on_validation_end(trainer, pl_module)
