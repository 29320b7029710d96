"""A table of predictions to look at."""

from __future__ import annotations

from typing import Any

import lightning as L
from lightning.pytorch.loggers import WandbLogger

from distill.callbacks.report import Report, find_callback
from distill.files import write_json
from distill.reporting.files import run_folder
from distill.reporting.samples import COLUMNS, sample_rows
from distill.types import UserError


class SamplePredictions(L.Callback):
    """Shows what both models answer to some validation questions when training ends.

    It uses the predictions of the ``Report`` listed before it, so nothing is computed twice; writes ``samples.json``
    into the run's folder (a list of rows) and logs the same table as ``samples`` to W&B. The choice of questions is
    the same in every run with the same predictions, spread over agreement and disagreement.

    Args:
        num_samples: Rows at most.

    Raises:
        UserError: If ``num_samples`` is below 1, or no ``Report`` is listed before this callback.
    """

    def __init__(self, num_samples: int = 20) -> None:
        if num_samples < 1:
            raise UserError(f"SamplePredictions: num_samples must be at least 1, not {num_samples}")
        self.num_samples = num_samples

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Check that a report comes first."""
        if stage == "fit" and find_callback(trainer, Report, before=self) is None:
            raise UserError("trainer.callbacks: SamplePredictions needs a Report listed before it")

    def on_train_end(self, trainer: L.Trainer, pl_module: Any) -> None:
        """Choose the rows, write and log them."""
        folder = run_folder(trainer)
        report = find_callback(trainer, Report)
        if report is None or report.student_evaluation is None or not trainer.is_global_zero:
            return
        if not report.student_evaluation.predictions:  # a task without answers to show
            return
        rows = sample_rows(
            [pl_module.task.show(example) for example in trainer.val_dataloaders.dataset.examples],
            report.student_evaluation.predictions,
            report.teacher_evaluation.predictions if report.teacher_evaluation else None,
            self.num_samples,
        )
        if folder is not None:
            write_json(folder / "samples.json", rows)
        columns = [name for name in COLUMNS if rows and name in rows[0]]
        for logger in trainer.loggers:
            if isinstance(logger, WandbLogger) and rows:
                logger.log_table("samples", columns=columns, data=[[row[name] for name in columns] for row in rows])
