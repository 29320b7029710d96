"""The progress bar, with the stage in it."""

from __future__ import annotations

import math
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import RichProgressBar
from lightning.pytorch.trainer.states import TrainerFn


class StageProgressBar(RichProgressBar):
    """Lightning's rich progress bar; also names the active stage, and ends where training or an evaluation does.

    Lightning's own is drawn until the command is over, below what is printed about its result.
    """

    @property
    def total_train_batches(self) -> int | float:
        """Training batches of the epoch; of the last one as many as the stages have left."""
        trainer = self.trainer
        batches = trainer.num_training_batches
        if trainer.max_steps < 0 or math.isinf(batches):
            return batches
        done = trainer.current_epoch * math.ceil(batches / trainer.accumulate_grad_batches)
        return min(batches, max(0, trainer.max_steps - done) * trainer.accumulate_grad_batches)

    def get_metrics(self, trainer: L.Trainer, pl_module: Any) -> dict[str, Any]:
        """Return what stands beside the bar: the stage first, then what was logged for the bar."""
        metrics = super().get_metrics(trainer, pl_module)
        metrics.pop("v_num", None)
        active = getattr(pl_module, "active_stage", None)
        return metrics if active is None else {"stage": active.name, **metrics}

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Leave the bar as it is."""
        super().on_train_end(trainer, pl_module)
        self._finish(trainer, pl_module)

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Leave the bar as it is after a validation by itself."""
        super().on_validation_end(trainer, pl_module)
        if trainer.state.fn == TrainerFn.VALIDATING:
            self._finish(trainer, pl_module)

    def on_test_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Leave the bar as it is."""
        super().on_test_end(trainer, pl_module)
        self._finish(trainer, pl_module)

    def on_predict_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Leave the bar as it is."""
        super().on_predict_end(trainer, pl_module)
        self._finish(trainer, pl_module)

    def _finish(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.teardown(trainer, pl_module, str(trainer.state.fn))
        self.progress = None  # else it ends once more, with an empty line
