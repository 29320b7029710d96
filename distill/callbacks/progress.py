"""The progress bar, with the stage in it."""

from __future__ import annotations

import math
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import RichProgressBar
from lightning.pytorch.trainer.states import TrainerFn

from distill.log_steps import is_log_step


class StageProgressBar(RichProgressBar):
    """Lightning's rich progress bar; also names the active stage, and ends where training or an evaluation does.

    Lightning's own is drawn until the command is over, below what is printed about its result. It also reads what is
    logged for it from the device in every batch; this one reads the loss at the steps that are logged, and of several
    tasks that of each when its batch is of such a step.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._losses: dict[str, float] = {}

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
        """Return what stands beside the bar: the stage first, then the loss, then what was logged for the bar."""
        metrics = {**self._losses, **super().get_metrics(trainer, pl_module)}
        metrics.pop("v_num", None)
        active = getattr(pl_module, "active_stage", None)
        return metrics if active is None else {"stage": active.name, **metrics}

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Begin without a loss."""
        self._losses = {}
        super().on_train_start(trainer, pl_module)

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Read the loss, where the step is logged, and draw."""
        loss = getattr(pl_module, "step_values", {}).get("loss")
        if self.is_enabled and loss is not None and is_log_step(trainer, getattr(pl_module, "active_stage", None)):
            task = getattr(batch, "task", None)
            self._losses["train/loss" if task is None else f"{task}/train/loss"] = float(loss)
        super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)

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
