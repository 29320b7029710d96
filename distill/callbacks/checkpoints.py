"""Which checkpoints a run keeps."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, Protocol

import lightning as L
import torch
from lightning.pytorch.callbacks import Checkpoint, ModelCheckpoint
from lightning.pytorch.trainer.states import TrainerFn

from distill.callbacks.stages import StageSchedule
from distill.checkpoints import CHECKPOINT_FOLDER, LAST
from distill.reporting.files import run_folder
from distill.tasks.base import Score
from distill.types import UserError

#: What the state of :class:`BestInFinalStage` says of files.
_FILES = ("best_model_path", "kth_best_model_path", "last_model_path")


class Scored(Protocol):
    """A task, or the module of a run: what has a score to choose by."""

    @property
    def main_score(self) -> Score:
        """The score to choose by."""
        ...


def best_rule(scored: Scored) -> str:
    """Return the rule by which a run's result is chosen, as reports state it."""
    return f"best validation {scored.main_score.label} within the final stage"


class LastCheckpoint(Checkpoint):
    """Keeps ``checkpoints/last.ckpt``, the state to resume from, and ``previous.ckpt``, the one before.

    It is written between optimizer steps alone: never within a step's accumulation of gradients, and when a validation
    is due, after it. So a resumed run repeats nothing and leaves nothing out. List it behind callbacks that choose by a
    validation, whose choice it keeps. It is also written where a stage ends: the next one may begin with a long pass of
    the teacher over the data, and behind the last one the report is still to come.

    Args:
        every_n_epochs: How often it is written when an epoch ends.
        every_n_steps: Write it within epochs too, after so many optimizer steps.
        every_n_minutes: Write it within epochs too, so long after it was written last; null does not.

    Raises:
        UserError: If a number is out of range.
    """

    def __init__(
        self, every_n_epochs: int = 1, every_n_steps: int | None = None, every_n_minutes: float | None = 15.0
    ) -> None:
        if every_n_epochs < 1:
            raise UserError(f"last_checkpoint.every_n_epochs must be at least 1, not {every_n_epochs}")
        if every_n_steps is not None and every_n_steps < 1:
            raise UserError(f"last_checkpoint.every_n_steps must be at least 1, not {every_n_steps}")
        if every_n_minutes is not None and not every_n_minutes > 0:
            raise UserError(f"last_checkpoint.every_n_minutes must be more than 0, not {every_n_minutes}")
        self.every_n_epochs = every_n_epochs
        self.every_n_steps = every_n_steps
        self.every_n_minutes = every_n_minutes
        #: The file; nothing before there is one.
        self.path: Path | None = None
        self._folder: Path | None = None
        self._saved_at = 0.0
        self._first_step = 0
        self._kept_step = -1
        self._is_due = False

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Check that what chooses by a validation does so before this callback keeps the choice.

        Raises:
            UserError: If it does not.
        """
        callbacks = trainer.checkpoint_callbacks
        for later in callbacks[callbacks.index(self) + 1 :]:
            if isinstance(later, ModelCheckpoint):
                raise UserError(f"trainer.callbacks: list {type(later).__name__} before LastCheckpoint, which keeps it")

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Begin to count."""
        folder = run_folder(trainer)  # asked on every process, since it may be agreed among them
        self._folder = folder / CHECKPOINT_FOLDER if folder is not None else None
        # That of the run that goes on, which may have no step to come.
        self.path = self._folder / LAST if self._folder is not None and (self._folder / LAST).is_file() else None
        self._saved_at = time.monotonic()
        self._first_step = self._kept_step = trainer.global_step
        self._is_due = False

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save if it is time, unless something of this step is still to be done."""
        if is_between_steps(trainer):
            step = trainer.global_step
            by_steps = self.every_n_steps is not None and step > self._first_step and step % self.every_n_steps == 0
            self._is_due = self._is_due or by_steps or _is_last_of_its_stage(pl_module) or self._is_late(trainer)
        if self._is_due and is_settled(trainer):
            self.save(trainer)

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Save what was due before a validation within an epoch."""
        if self._is_due and is_settled_after_validation(trainer):
            self.save(trainer)

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Save if it is this epoch's turn."""
        if self._is_due or (trainer.current_epoch + 1) % self.every_n_epochs == 0:
            self.save(trainer)

    def save(self, trainer: L.Trainer) -> None:
        """Write the checkpoint now, on every process together; a ``fast_dev_run`` writes none."""
        self._is_due = False
        self._saved_at = time.monotonic()
        if self._folder is None:
            return
        path = self._folder / LAST
        for logger in trainer.loggers:
            logger.save()  # what lies before a checkpoint is not logged again
        trainer.save_checkpoint(path, weights_only=False)
        self.path = path
        self._kept_step = trainer.global_step

    def holds_everything(self, trainer: L.Trainer) -> bool:
        """Whether a run that ended here would repeat no step: none was taken since it began or was saved."""
        return self._kept_step == trainer.global_step

    def _is_late(self, trainer: L.Trainer) -> bool:
        if self.every_n_minutes is None:
            return False
        is_late = time.monotonic() - self._saved_at >= 60 * self.every_n_minutes
        # Clocks differ, but all processes have to save together.
        return bool(trainer.strategy.reduce_boolean_decision(is_late, all=False)) if trainer.world_size > 1 else is_late


def _is_last_of_its_stage(pl_module: Any) -> bool:
    active = getattr(pl_module, "active_stage", None)
    return active is not None and active.step + 1 == active.num_steps


def is_between_steps(trainer: L.Trainer) -> bool:
    """Whether, when a training batch ends, its gradients have been spent."""
    return not trainer.fit_loop.epoch_loop._should_accumulate()


def is_settled(trainer: L.Trainer) -> bool:
    """Whether, when a training batch ends, the next thing that happens is the next batch of the same epoch.

    A checkpoint that is taken here needs no more of Lightning than to go on with that batch; one taken with a
    validation or the end of an epoch ahead would skip it.
    """
    fit_loop = trainer.fit_loop
    loop = fit_loop.epoch_loop
    is_last_batch = loop._num_ready_batches_reached()
    return is_between_steps(trainer) and not is_last_batch and not loop._should_check_val_fx(fit_loop._data_fetcher)


def is_settled_after_validation(trainer: L.Trainer) -> bool:
    """Whether, when a validation ends, the next thing that happens is the next batch of the same epoch."""
    loop = trainer.fit_loop.epoch_loop
    is_fit = trainer.state.fn == TrainerFn.FITTING and not trainer.sanity_checking
    return is_fit and is_between_steps(trainer) and not loop._num_ready_batches_reached() and not trainer.should_stop


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
        self._trainer: L.Trainer | None = None

    def setup(self, trainer: L.Trainer, pl_module: Any, stage: str) -> None:
        """Take the score, unless one was named, and its direction from the task."""
        super().setup(trainer, pl_module, stage)
        self._trainer = trainer
        self.monitor: str | None = self.monitor or f"val/{pl_module.main_score.name}"
        falling = {f"val/{score.name}" for score in pl_module.headline if not score.higher_is_better}
        if self.monitor in falling and self.mode == "max":
            self.mode: str = "min"
            self.kth_value = torch.tensor(torch.inf)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on with the best score so far; Lightning alone would forget it when the resumed run has a new folder.

        Names of files that lay with the checkpoint hold for where both lie now, seen from the present folder.
        """
        folder = str(state_dict.get("dirpath"))
        moved = {name: self._found(state_dict.get(name, ""), folder) for name in _FILES}
        best = {self._found(path, folder): score for path, score in state_dict.get("best_k_models", {}).items()}
        super().load_state_dict({**state_dict, **moved, "best_k_models": best, "dirpath": self.dirpath})

    def _found(self, path: str, old_folder: str) -> str:
        """Return where a file now lies that was in the checkpoint's folder; any other path as it is."""
        checkpoint = self._trainer.ckpt_path if self._trainer is not None else None
        if not checkpoint or not path or Path(path).parent != Path(old_folder):
            return path
        file = Path(checkpoint).parent / Path(path).name
        if self.dirpath is not None and file.parent.resolve() == Path(self.dirpath).resolve():
            file = Path(self.dirpath) / file.name
        return str(file) if file.is_file() else path

    def on_validation_end(self, trainer: L.Trainer, pl_module: Any) -> None:
        """Compare and save, if the final stage is running."""
        schedule = next((c for c in trainer.callbacks if isinstance(c, StageSchedule)), None)  # type: ignore[attr-defined]
        active = getattr(pl_module, "active_stage", None)
        is_final = schedule is None or active is None or active.index == len(schedule.stages) - 1
        if is_final and pl_module.trains_head:
            super().on_validation_end(trainer, pl_module)
