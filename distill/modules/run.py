"""What a run trains: one student encoder, for one task or several."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import lightning as L
import torch
from lightning.pytorch.cli import OptimizerCallable
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor

from distill.processor import prefer_fused
from distill.stages import ActiveStage, Stage
from distill.tasks.base import EvaluationResult, Score
from distill.types import UserError

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
        #: The latest training batch's weighted total, as ``loss``, and raw terms, () each; left on the device.
        self.step_values: dict[str, Tensor] = {}
        self._gradient_norm: Tensor | None = None

    @property
    def is_evaluation(self) -> bool:
        """Whether the running command trains nothing."""
        return self._trainer is not None and self._trainer.state.fn != TrainerFn.FITTING

    @property
    def precision(self) -> str:
        """What the run computes in, as the Trainer names it; float32 without a Trainer."""
        return str(self._trainer.precision) if self._trainer is not None else "32-true"

    @property
    @abstractmethod
    def members(self) -> Mapping[str | None, TaskModule]:
        """The module of each task by its name; of the only task under no name."""

    @property
    @abstractmethod
    def terms(self) -> tuple[str, ...]:
        """The losses that stages may weight."""

    @property
    def headline(self) -> tuple[Score, ...]:
        """The scores of the run as a whole that tables and reports put first."""
        return (self.main_score,)

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
        """Whether the active stage trains a head, one of several at least; else scores are no measure of it."""

    def tell_tasks(self, data: TaskDataModule) -> None:
        """Tell the data what is predicted, where it is read and cut by that."""
        data.take_tasks({name: member.task for name, member in self.members.items()})

    @abstractmethod
    def check_data(self, data: TaskDataModule) -> None:
        """Check everything that can be checked of models and data before weights or texts are loaded.

        Raises:
            UserError: If sizes, layer maps, tokenizers, lengths or names do not fit.
        """

    def check_stages(self, stages: Mapping[str, Stage]) -> None:
        """Check every stage, and warn of tasks that none of them trains."""
        for name, stage in stages.items():
            self.check_stage(name, stage)
        trained = {task for stage in stages.values() for task in stage.tasks or self.members}
        if idle := [str(task) for task in self.members if task not in trained]:
            rank_zero_warn(f"no stage trains {', '.join(idle)}: what the student begins with stays as it is")

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
        """Return the optimizer, fused if it can be; weight decay spares biases and norms, as in published recipes."""
        trainable = [parameter for parameter in self.parameters() if parameter.requires_grad]
        decayed = [parameter for parameter in trainable if parameter.ndim > 1]
        spared = [parameter for parameter in trainable if parameter.ndim <= 1]
        return prefer_fused(self.make_optimizer([{"params": decayed}, {"params": spared, "weight_decay": 0.0}]))

    def check_optimizer(self) -> None:
        """Check the optimizer's settings, before there is anything to optimize.

        Raises:
            UserError: If it refuses them.
        """
        try:
            self.make_optimizer([torch.nn.Parameter(torch.zeros(1))])
        except (ValueError, TypeError, RuntimeError) as error:
            raise UserError(f"model.optimizer: {error}") from error

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """Load the weights of a checkpoint.

        Raises:
            UserError: If they are of another model.
        """
        try:
            return super().load_state_dict(state_dict, strict, assign)
        except RuntimeError as error:
            reason = _difference(state_dict, self.state_dict()) or " ".join(str(error).split())
            raise UserError(
                f"the checkpoint is of another model than this configuration's: {reason}; use the configuration it was "
                "made with, or start from the student/ folder beside it"
            ) from error

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
        else:
            norm = self.gradient_norm(optimizer)
            torch.nn.utils.clip_grads_with_norm_(_parameters(optimizer), gradient_clip_val, norm)
        self._gradient_norm = None

    def gradient_norm(self, optimizer: torch.optim.Optimizer) -> Tensor:
        """Return the L2 norm of a step's gradients before clipping, (); computed once, and left on the device.

        Gradients of an optimizer that undoes loss scaling only inside its step are still scaled, and so is the norm.
        """
        if self._gradient_norm is None:
            gradients = [parameter.grad for parameter in _parameters(optimizer) if parameter.grad is not None]
            self._gradient_norm = torch.nn.utils.get_total_norm(gradients)
        return self._gradient_norm


def _parameters(optimizer: torch.optim.Optimizer) -> list[Tensor]:
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]


def part_of(state: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    """Return the entries of a state whose names begin with a prefix, without it."""
    return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}


def run_data(module: RunModule) -> Any:
    """Return the data of the run that a module is in, nothing where there is none."""
    return module._trainer.datamodule if module._trainer is not None else None  # type: ignore[attr-defined]


def _difference(saved: Mapping[str, Any], own: Mapping[str, Any]) -> str:
    """Return what of a model's state is not in a saved one or otherwise there, a few names of each kind."""
    sizes = [
        f"{name} ({_size(saved[name])}, not {_size(own[name])})"
        for name in own
        if name in saved and saved[name].shape != own[name].shape
    ]
    kinds = {
        "it lacks": [name for name in own if name not in saved],
        "it alone has": [name for name in saved if name not in own],
        "it has in other sizes": sizes,
    }
    return "; ".join(f"{kind} {_brief(names)}" for kind, names in kinds.items() if names)


def _brief(names: Sequence[str]) -> str:
    return ", ".join(names[:2]) + (f" and {len(names) - 2:,} more" if len(names) > 2 else "")


def _size(tensor: Tensor) -> str:
    return " x ".join(map(str, tensor.shape)) or "a number"
