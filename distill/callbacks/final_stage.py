"""The scores that may be compared between runs whose stages differ."""

from __future__ import annotations

from typing import Any

import lightning as L
from lightning.pytorch.trainer.states import TrainerFn

from distill.callbacks.report import find_callback
from distill.callbacks.stages import StageSchedule


class FinalStageScores(L.Callback):
    """Logs the validation scores again as ``final/<score>``, while the final stage runs and no earlier.

    Earlier stages train other objectives, so what they score says nothing about a run; a sweep that stops trials early
    needs a metric that is silent until then. The highest ``final/f1`` is the result's.
    """

    def on_validation_end(self, trainer: L.Trainer, pl_module: Any) -> None:
        """Log the main scores, not those of slices, if the final stage is running."""
        schedule, active = find_callback(trainer, StageSchedule), getattr(pl_module, "active_stage", None)
        if trainer.state.fn != TrainerFn.FITTING or schedule is None or active is None:
            return
        if active.index < len(schedule.stages) - 1:
            return
        scores = {
            name.replace("val/", "final/"): float(value)
            for name, value in trainer.callback_metrics.items()
            if name.startswith("val/") and name.count("/") == 1 and not name.startswith("val/num_")
        }
        for logger in trainer.loggers:
            logger.log_metrics(scores, trainer.global_step - 1)
