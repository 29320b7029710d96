"""What a run trains: one student encoder, for one task or several."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import lightning as L
import torch
from lightning.pytorch.cli import OptimizerCallable

from distill.stages import ActiveStage, Stage
from distill.tasks.base import EvaluationResult, Score

if TYPE_CHECKING:
    from distill.data.base import TaskDataModule
    from distill.modules.base import TaskModule


class RunModule(L.LightningModule):
    """What Lightning trains and evaluates, and what callbacks look at: the members of a run, one for each task.

    Args:
        optimizer: Makes the optimizer from the parameters; the learning rate is the stage's.
    """

    #: Set by the StageSchedule before every training batch.
    active_stage: ActiveStage | None = None

    def __init__(self, optimizer: OptimizerCallable) -> None:
        super().__init__()
        self.make_optimizer = optimizer

    @property
    @abstractmethod
    def members(self) -> Mapping[str | None, TaskModule]:
        """The module of each task by its name; of the only task under no name."""

    @property
    @abstractmethod
    def terms(self) -> tuple[str, ...]:
        """The losses that stages may weight."""

    @property
    @abstractmethod
    def headline(self) -> tuple[Score, ...]:
        """The scores of the run as a whole; the best checkpoint is chosen by :attr:`main_score`."""

    @property
    @abstractmethod
    def main_score(self) -> Score:
        """The score by which the best checkpoint is chosen."""

    @abstractmethod
    def mean_score(self, results: Mapping[str | None, EvaluationResult]) -> float | None:
        """Return the :attr:`main_score` of the run, given each task's evaluation; None where there is none."""

    @property
    def starts_at_random(self) -> bool:
        """Whether the student has only random weights until it is trained or a checkpoint is loaded."""
        return True

    @property
    @abstractmethod
    def trains_head(self) -> bool:
        """Whether the active stage trains every head, without which scores are no measure of the training."""

    @abstractmethod
    def check_data(self, data: TaskDataModule) -> None:
        """Check everything that can be checked of models and data before weights or texts are loaded.

        Raises:
            UserError: If sizes, layer maps, tokenizers, lengths or names do not fit.
        """

    @abstractmethod
    def check_stage(self, name: str, stage: Stage) -> None:
        """Check that a stage names only known tasks, and trains something of each of them.

        Raises:
            UserError: If it does not; the message names the stage.
        """

    @abstractmethod
    def load_student_weights(self, checkpoint: str | Path) -> None:
        """Put the student's weights of a checkpoint into the student; missing or foreign weights are an error."""

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return the optimizer; weight decay spares biases and norms, as in every published recipe."""
        trainable = [parameter for parameter in self.parameters() if parameter.requires_grad]
        decayed = [parameter for parameter in trainable if parameter.ndim > 1]
        spared = [parameter for parameter in trainable if parameter.ndim <= 1]
        return self.make_optimizer([{"params": decayed}, {"params": spared, "weight_decay": 0.0}])

    def configure_gradient_clipping(
        self,
        optimizer: torch.optim.Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip gradients, fused optimizers included.

        Lightning refuses those under mixed precision, since they undo loss scaling only inside their step; but only
        float16 scales losses, and there we leave the refusal to Lightning.
        """
        scales_losses = getattr(self.trainer.precision_plugin, "scaler", None) is not None
        if gradient_clip_val is None or scales_losses or gradient_clip_algorithm == "value":
            self.clip_gradients(optimizer, gradient_clip_val, gradient_clip_algorithm)
            return
        parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        torch.nn.utils.clip_grad_norm_(parameters, gradient_clip_val)


def part_of(state: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    """Return the entries of a state whose names begin with a prefix, without it."""
    return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}


def run_data(module: RunModule) -> Any:
    """Return the data of the run that a module is in, nothing where there is none."""
    return module._trainer.datamodule if module._trainer is not None else None  # type: ignore[attr-defined]
