"""The callback that runs the stages one after the other."""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import Any

import lightning as L
from lightning.pytorch.utilities import rank_zero_info

from distill.data.mixing import MixedSampler
from distill.data.training import TrainingLoader, segments
from distill.log_steps import is_log_step
from distill.losses.objective import check_weights
from distill.stages import Stage, StagePlan
from distill.types import UserError


class StageSchedule(L.Callback):
    """Runs the stages one after the other and ends the run when the last one is done.

    Before every batch the stage is computed from the number of optimizer steps done, and nothing else is remembered:
    a resumed run is in the right stage, at the right learning rate. The callback sets ``module.active_stage``, the
    optimizer's learning rates and, where a stage asks for it, forgets the optimizer's moments before its first step.
    The run's length is the stages' length; a smaller ``max_steps`` or ``max_epochs`` of the Trainer still holds.

    Args:
        stages: Name to stage, in order; None leaves a stage out that another configuration brought.
    """

    def __init__(self, stages: dict[str, Stage | None] | None = None) -> None:
        self.stages = {name: stage for name, stage in (stages or {}).items() if stage is not None}
        #: The stages in steps; known once the training data is, at the start of the fit.
        self.plan: StagePlan | None = None
        for name, stage in self.stages.items():
            stage.validate(name)

    def check(self, terms: Collection[str], data: Collection[str] = ()) -> None:
        """Check that there is something to run and that it names only known terms and known data.

        Args:
            terms: The losses that stages may weight.
            data: The data that stages may name.

        Raises:
            UserError: If there is no stage, a stage weights a term that the module lacks, trains nothing, or names data
                that there is not.
        """
        if not self.stages:
            raise UserError("schedule.stages: at least one stage is needed to fit")
        for name, stage in self.stages.items():
            try:
                check_weights(terms, stage.weights)
            except UserError as error:
                raise UserError(f"stage {name!r}: {error}") from error
            if stage.data is not None and stage.data not in data:
                known = f"choose among {', '.join(data)}" if data else "give a StagedDataModule that holds it"
                raise UserError(f"stage {name!r}: there is no data {stage.data!r}; {known}")

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Lay the stages out in steps and bound the run by them."""
        steps_per_epoch = math.ceil(trainer.num_training_batches / trainer.accumulate_grad_batches)
        self.plan = StagePlan(self.stages, steps_per_epoch)
        loader = trainer.train_dataloader
        if isinstance(loader, TrainingLoader):
            sampler = loader.loaders[None].sampler
            if isinstance(sampler, MixedSampler):
                passes = {name: sampler.batches_of(stage.tasks) for name, stage in self.stages.items()}
                batches = {name: _limited(number, trainer.limit_train_batches) for name, number in passes.items()}
                steps = {name: math.ceil(number / trainer.accumulate_grad_batches) for name, number in batches.items()}
                self.plan = StagePlan(self.stages, steps_per_epoch, steps)
                sampler.follow(self.plan, trainer.accumulate_grad_batches)
            loader.segments = segments(self.plan, len(loader), trainer.accumulate_grad_batches)
            loader.num_batches = int(trainer.num_training_batches)
            loader.batches_per_step = trainer.accumulate_grad_batches
        fit_loop, epoch_loop = trainer.fit_loop, trainer.fit_loop.epoch_loop
        if epoch_loop.max_steps == -1 or epoch_loop.max_steps > self.plan.total_steps:
            epoch_loop.max_steps = self.plan.total_steps
        if fit_loop.max_epochs in (-1, None):
            # A finished run that goes on, since its stages have become longer, counts the epoch it ended in as done.
            done, left = fit_loop.epoch_progress.current.processed, self.plan.total_steps - trainer.global_step
            epochs = self.plan.total_steps / steps_per_epoch, done + left / steps_per_epoch
            fit_loop.max_epochs = math.ceil(max(epochs))
        for line in self.plan.describe():
            rank_zero_info(
                "stage %s: steps %d to %d", line["name"], line["start_step"], line["start_step"] + line["num_steps"]
            )

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Ask for the end after the last step; unlike ``max_steps`` this lets the final validation happen."""
        assert self.plan is not None
        if trainer.global_step >= self.plan.total_steps:
            trainer.should_stop = True

    def on_train_batch_start(self, trainer: L.Trainer, pl_module: Any, batch: Any, batch_idx: int) -> None:
        """Set the stage and learning rates that the next optimizer step belongs to."""
        assert self.plan is not None
        active = self.plan.stage_at(trainer.global_step)
        previous = pl_module.active_stage
        if previous is None or previous.index != active.index:
            rank_zero_info("stage %s begins at step %d", active.name, trainer.global_step)
        pl_module.active_stage = active
        for optimizer in trainer.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = active.learning_rate
            # Also right when a run resumes exactly at the switch: there the moments saved with it are old ones.
            if active.step == 0 and active.stage.reset_optimizer:
                optimizer.state.clear()
        if is_log_step(trainer, active):
            pl_module.log("train/learning_rate", active.learning_rate, batch_size=1)
            pl_module.log("train/stage", float(active.index), batch_size=1)


def _limited(num_batches: int, limit: float) -> int:
    """Return what the Trainer's ``limit_train_batches`` leaves of a pass: so many batches, or such a part of them."""
    return min(num_batches, limit) if isinstance(limit, int) else max(1, int(num_batches * limit))
