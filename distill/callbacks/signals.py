"""Signals: what ends a run from outside makes it save first."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from contextlib import suppress
from types import FrameType
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.loops.utilities import _is_max_limit_reached
from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn

from distill.callbacks.checkpoints import LastCheckpoint, is_settled, is_settled_after_validation

#: Signals that end a run in order: Ctrl-C and a scheduler's two. A later one overrules an earlier one: a job that is
#: told to go back into the queue is often told to end, too.
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)

_STDERR = 2


class RunStopped(BaseException):
    """A signal ended the run.

    Attributes:
        signal: Which one.
        where: ``at step 120``, ``at once, after step 120``, ``before training`` or ``after training``.
        is_saved: Whether there is a checkpoint to go on with.
    """

    def __init__(self, received: signal.Signals, where: str, is_saved: bool = True) -> None:
        self.signal = received
        self.where = where
        self.is_saved = is_saved
        super().__init__(f"stopped by {self.signal.name} {where}")


class SignalStop(Checkpoint):
    """Saves and stops at the next step boundary when SIGTERM, SIGUSR1 or Ctrl-C asks for it.

    The signal is only noted where it arrives, which is said at once; the training loop then saves the
    :class:`~distill.callbacks.checkpoints.LastCheckpoint` between two steps and ends with :class:`RunStopped`. A
    validation that has begun is waited for. With several processes all stop at the same step, whichever was told.

    A single process that has taken no step since that checkpoint ends at once, also while a teacher runs over all
    windows before a stage's first step: nothing is lost. So does every run before and after training, and at a second
    Ctrl-C, which loses the steps since that checkpoint.

    Args:
        requeue: Whether SIGUSR1 within a SLURM job also puts that job, or the task of the array, back into the queue.
    """

    def __init__(self, requeue: bool = True) -> None:
        self.requeue = requeue
        self._received: signal.Signals | None = None
        self._num_interrupts = 0
        self._end: RunStopped | None = None
        self._trainer: L.Trainer | None = None
        self._is_training = False
        # What a signal waits for.
        self._under_way = "step"
        self._outside = "before training"
        self._older_handlers: dict[int, Any] = {}
        self._pid = os.getpid()

    def install(self) -> None:
        """Take the signals, again where others have taken them since; only the main thread may."""
        if threading.current_thread() is not threading.main_thread():
            return
        self._pid = os.getpid()
        for number in SIGNALS:
            if (handler := signal.getsignal(number)) != self._note:
                self._older_handlers.setdefault(number, handler)
                signal.signal(number, self._note)

    def uninstall(self) -> None:
        """Give the signals back."""
        for number, handler in self._older_handlers.items():
            signal.signal(number, handler)
        self._older_handlers = {}

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Take the signals."""
        if stage == "fit":
            self._received, self._end, self._outside = None, None, "before training"
            self._num_interrupts, self._trainer = 0, trainer
            self.install()

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Take the signals from Lightning, whose handlers save and talk to other processes within the signal."""
        self._settle_phase(trainer)
        self.install()
        for number in SIGNALS:  # else it gives them back to whom it took them from, which is this callback
            trainer._signal_connector._original_handlers.pop(number, None)

    def on_train_batch_start(self, trainer: L.Trainer, pl_module: Any, batch: Any, batch_idx: int) -> None:
        """Do not begin another step once the run is saved."""
        if self._end is not None:
            raise self._end
        active = getattr(pl_module, "active_stage", None)
        is_first = active is not None and active.step == 0
        self._under_way = "stage's first step, with what the teacher prepares for it," if is_first else "step"

    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Know what a signal has to wait for."""
        self._under_way = "validation"

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Stop if asked to, unless something of this step is still to be done."""
        if is_settled(trainer):
            self._stop_if_asked(trainer)

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Stop if asked to, within an epoch."""
        self._under_way = "step"
        if self._is_training and is_settled_after_validation(trainer):
            self._stop_if_asked(trainer)

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Stop if asked to; from the last epoch's end on at once, since all that was trained is saved."""
        self._stop_if_asked(trainer)
        self._settle_phase(trainer)
        if self._end is not None and not self._is_training:
            raise self._end

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        """Give the signals back; put the job back into the queue, now that everything about the end is written."""
        self._is_training = False
        self.uninstall()
        if isinstance(exception, RunStopped) and exception.signal == signal.SIGUSR1 and trainer.is_global_zero:
            self._after_saving()

    def teardown(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Give the signals back."""
        self._is_training = False
        self.uninstall()

    def _settle_phase(self, trainer: L.Trainer) -> None:
        """Find out whether there are steps to come; a resumed run may have none."""
        loop = trainer.fit_loop
        by_steps = _is_max_limit_reached(trainer.global_step, loop.epoch_loop.max_steps)
        by_epochs = _is_max_limit_reached(loop.epoch_progress.current.processed, loop.max_epochs)
        self._is_training = not (trainer.should_stop or by_steps or by_epochs)
        self._outside = "after training"

    def _note(self, number: int, frame: FrameType | None) -> None:
        if os.getpid() != self._pid:  # a process that this one has just forked, such as a loader's worker
            return
        received = signal.Signals(number)
        if not self._is_training:
            raise self._stopped(received, self._outside)
        assert self._trainer is not None
        step = self._trainer.global_step
        self._received = received if self._received is None else max(self._received, received, key=SIGNALS.index)
        self._num_interrupts += received == signal.SIGINT
        if self._num_interrupts > 1:
            raise self._stopped(received, f"at once, after step {step}")
        if self._trainer.world_size == 1 and self._end is None and self._holds_everything(self._trainer):
            raise self._stopped(self._received, f"at step {step}")
        if self._trainer.is_global_zero:
            # Not through a logger or a stream, which the signal may have interrupted.
            line = f"\n{received.name}: the run saves and stops when the {self._under_way} under way is done\n"
            with suppress(OSError):
                os.write(_STDERR, line.encode())

    def _stopped(self, received: signal.Signals, where: str) -> RunStopped:
        found = _last_checkpoints(self._trainer) if self._trainer is not None else []
        return RunStopped(received, where, is_saved=any(last.path is not None for last in found))

    def _holds_everything(self, trainer: L.Trainer) -> bool:
        return any(last.holds_everything(trainer) for last in _last_checkpoints(trainer))

    def _stop_if_asked(self, trainer: L.Trainer) -> None:
        number = 0 if self._received is None else 1 + SIGNALS.index(self._received)
        if trainer.world_size > 1:
            # The strongest signal of all processes: they have to stop together.
            own = torch.tensor(number, device=trainer.strategy.root_device)
            number = int(trainer.strategy.reduce(own, reduce_op="max"))
        if not number:
            return
        received = SIGNALS[number - 1]
        rank_zero_info("%s: saving, then stopping", received.name)
        for last in _last_checkpoints(trainer):
            last.save(trainer)
        # Raised a moment later, when Lightning has logged what this step gave.
        self._end = self._stopped(received, f"at step {trainer.global_step}")

    def _after_saving(self) -> None:
        """Decide what follows an orderly stop."""
        job = slurm_job()
        if not self.requeue or job is None:
            return
        done = subprocess.run(["scontrol", "requeue", job], capture_output=True, text=True, check=False)
        if done.returncode:
            rank_zero_warn(f"SLURM does not requeue job {job}: {done.stderr.strip()}")
        else:
            rank_zero_info("SLURM job %s is back in the queue", job)


def _last_checkpoints(trainer: L.Trainer) -> list[LastCheckpoint]:
    return [callback for callback in trainer.checkpoint_callbacks if isinstance(callback, LastCheckpoint)]


def slurm_job() -> str | None:
    """Return the SLURM job that this process belongs to, or its task of an array; None outside SLURM."""
    if array := os.environ.get("SLURM_ARRAY_JOB_ID"):
        return f"{array}_{os.environ['SLURM_ARRAY_TASK_ID']}"
    return os.environ.get("SLURM_JOB_ID")
