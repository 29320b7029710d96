"""A table of predictions to look at."""

from __future__ import annotations

from typing import Any

import lightning as L
from lightning.pytorch.loggers import WandbLogger

from distill.callbacks.report import Report, find_callback
from distill.data.base import by_task
from distill.files import write_json
from distill.reporting.files import run_folder, task_folder
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
        if report is None or not trainer.is_global_zero:
            return
        for name, found in report.evaluations.items():
            if not found.student.predictions:  # a task without answers to show
                continue
            examples = by_task(trainer.val_dataloaders)[name].dataset.examples  # type: ignore[attr-defined]
            rows = sample_rows(
                [pl_module.members[name].task.show(example) for example in examples],
                found.student.predictions,
                found.teacher.predictions if found.teacher else None,
                self.num_samples,
            )
            if folder is not None:
                write_json(task_folder(folder, name) / "samples.json", rows)
            columns = [column for column in COLUMNS if rows and column in rows[0]]
            table = "samples" if name is None else f"{name}/samples"
            for logger in trainer.loggers:
                if isinstance(logger, WandbLogger) and rows:
                    logger.log_table(table, columns=columns, data=[[row[key] for key in columns] for row in rows])
