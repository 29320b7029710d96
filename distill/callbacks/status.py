"""What a run leaves behind about its own course: running, finished, stopped or failed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import IO, Any

import lightning as L
from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities import rank_zero_warn

from distill.callbacks.checkpoints import LastCheckpoint
from distill.callbacks.report import find_callback
from distill.callbacks.signals import RunStopped
from distill.reporting.files import run_folder
from distill.reporting.status import RunStatus, clear_end, lock_run, read_status, unlock_run, write_end, write_status
from distill.types import UserError

#: Where a checkpoint keeps which run of W&B it belongs to.
WANDB_KEY = "wandb_id"


class StatusFile(L.Callback):
    """Writes ``status.json`` into the run's folder and how the run ended into W&B's summary.

    A run that ends before it is done also gets a ``report.json``, which says so and has no scores.

    While it lasts the folder is locked, so that ``--ckpt_path auto`` of another process does not take the run over.
    A run that was killed cannot say so: its state stays ``running``, and the lock is gone.

    Args:
        lock: Whether to lock the folder.

    Raises:
        UserError: When training begins, if another process works in the folder.
    """

    def __init__(self, lock: bool = True) -> None:
        self.lock = lock
        self.status = RunStatus("running")
        # The folder, and the same once the run has begun.
        self._taken: Path | None = None
        self._folder: Path | None = None
        self._lock: IO[bytes] | None = None

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Take the folder."""
        folder = run_folder(trainer)  # asked on every process, since it may be agreed among them
        if stage != "fit" or folder is None or not trainer.is_global_zero:
            return
        if self.lock and self._lock is None:
            self._lock = lock_run(folder)
            if self._lock is None:
                raise UserError(f"{folder}: another process is working on this run; wait for it or end it")
        self._taken = folder

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Say that the run has begun; a checkpoint that it refuses has ended it before, and changed nothing."""
        folder = self._folder = self._taken
        if folder is None:
            return
        before = read_status(folder) or RunStatus("running")
        self.status = replace(before, state="running", ended=None, wandb_id=_wandb_id(trainer) or before.wandb_id)
        write_status(folder, self.status)
        clear_end(folder)

    def on_save_checkpoint(self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        """Note which run of W&B the checkpoint is of."""
        checkpoint[WANDB_KEY] = self.status.wandb_id

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Note where a resumed run goes on."""
        if trainer.global_step and self._folder is not None:
            self.status = replace(self.status, resumed_at=(*self.status.resumed_at, trainer.global_step))
            self._write(trainer)

    def on_fit_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Say that everything is done and written."""
        self._end(trainer, pl_module, RunStatus("finished", "finished"))

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        """Say what ended the run."""
        if trainer.state.fn != TrainerFn.FITTING:
            return
        if self._folder is None and self._taken is not None and self._lock is not None:
            unlock_run(self._taken, self._lock)  # nothing has begun in it
            self._lock = None
        last = find_callback(trainer, LastCheckpoint)
        if isinstance(exception, RunStopped):
            resume = f", resume with --ckpt_path {last.path}" if last is not None and last.path is not None else ""
            self._end(trainer, pl_module, RunStatus("stopped", f"{exception}{resume}"))
        elif isinstance(exception, KeyboardInterrupt):
            self._end(trainer, pl_module, RunStatus("stopped", f"stopped by Ctrl-C at step {trainer.global_step}"))
        else:
            reason = next(iter(str(exception).strip().splitlines()), "")
            self._end(trainer, pl_module, RunStatus("failed", f"{type(exception).__name__}: {reason}"))

    def _end(self, trainer: L.Trainer, pl_module: L.LightningModule, end: RunStatus) -> None:
        if self._folder is not None:
            self.status = replace(self.status, state=end.state, ended=end.ended)
            try:
                self._write(trainer)
                if end.state != "finished":
                    active = getattr(pl_module, "active_stage", None)
                    write_end(self._folder, self.status, active.name if active is not None else None)
            except OSError as error:  # must not hide what ended the run, such as a full disk
                rank_zero_warn(f"{self._folder}: how the run ended cannot be written: {error.strerror}")
            for logger in trainer.loggers:
                if isinstance(logger, WandbLogger):
                    logger.experiment.summary["ended"] = end.ended

    def _write(self, trainer: L.Trainer) -> None:
        assert self._folder is not None
        self.status = replace(self.status, step=trainer.global_step)
        write_status(self._folder, self.status)


def _wandb_id(trainer: L.Trainer) -> str | None:
    return next((logger.experiment.id for logger in trainer.loggers if isinstance(logger, WandbLogger)), None)
