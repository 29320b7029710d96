"""What every module shares: one trainable student, its task, its weighted terms, its evaluation."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.cli import OptimizerCallable
from torch import Tensor
from torch.utils.data import DataLoader
from transformers import PreTrainedModel

from distill.checkpoints import load_checkpoint
from distill.losses.balance import LossBalance
from distill.losses.base import DistillationLoss
from distill.losses.objective import Objective
from distill.losses.share import share_means
from distill.models.recording import Recorder
from distill.stages import ActiveStage
from distill.tasks.base import Evaluation, EvaluationResult, Task
from distill.tasks.question_answering.task import QuestionAnswering
from distill.types import Batch, Mean, Recording, RecordingPlan, UserError

#: Prefix of the student's weights in a checkpoint.
STUDENT_PREFIX = "student."

#: Where a checkpoint keeps what the balance of the terms has seen.
BALANCE_KEY = "loss_balance"


class TaskModule(L.LightningModule):
    """A trainable student with a task, an objective of named terms, and one way of being evaluated.

    Which terms count, how much, at which temperature and learning rate is decided by the active stage, which a
    :class:`~distill.callbacks.StageSchedule` sets before every batch.

    Args:
        losses: The named terms that stages may weight.
        task: What is predicted; :attr:`default_task` when left out.
        optimizer: Makes the optimizer from the parameters; the learning rate is the stage's.
    """

    student: PreTrainedModel
    #: What is predicted where no task is named.
    default_task: type[Task] = QuestionAnswering

    def __init__(
        self,
        losses: Mapping[str, DistillationLoss],
        task: Task | None = None,
        optimizer: OptimizerCallable = torch.optim.AdamW,
    ) -> None:
        super().__init__()
        self.task = task if task is not None else self.default_task()
        self.objective = Objective(losses)
        self.balance = LossBalance()
        self.make_optimizer = optimizer
        #: Set by the StageSchedule before every training batch.
        self.active_stage: ActiveStage | None = None
        #: The latest training batch's weighted total, as ``loss``, and raw terms, () each; left on the device.
        self.step_values: dict[str, Tensor] = {}
        #: Scores and predictions of the student in the latest validation, test or prediction.
        self.last_evaluation: EvaluationResult | None = None
        self._evaluation: Evaluation | None = None
        self._gradient_norm: Tensor | None = None

    @property
    def teacher(self) -> PreTrainedModel | None:
        """The frozen teacher, where the module has one."""
        return None

    @property
    def starts_at_random(self) -> bool:
        """Whether the student has only random weights until it is trained or a checkpoint is loaded."""
        return True

    @property
    def trains_head(self) -> bool:
        """Whether the active stage trains the head, without which the scores are no measure of the training."""
        return self.active_stage is None or self.objective.plans(self.active_stage.stage.weights)[0].logits

    def check(self, max_length: int) -> None:
        """Check everything that can be checked before weights or data are loaded.

        Raises:
            UserError: If sizes, layer map, tokenizers or ``max_length`` do not fit.
        """
        raise UserError(f"{type(self).__name__} cannot be trained by itself")

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return the optimizer; weight decay spares biases and norms, as in every published recipe."""
        trainable = [parameter for parameter in self.parameters() if parameter.requires_grad]
        decayed = [parameter for parameter in trainable if parameter.ndim > 1]
        spared = [parameter for parameter in trainable if parameter.ndim <= 1]
        return self.make_optimizer([{"params": decayed}, {"params": spared, "weight_decay": 0.0}])

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
            reason = " ".join(str(error).split())
            raise UserError(
                f"the checkpoint is of another model than this configuration's: {reason[:300]}; use the configuration "
                "it was made with, or start from the student/ folder beside it"
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

    def compute_means(self, batch: Batch, weights: Mapping[str, float], temperature: float) -> dict[str, Mean]:
        """Return the unweighted, undivided mean of each active term over a batch."""
        raise UserError(f"{type(self).__name__} has no training objective")

    def record(self, recorder: Recorder, batch: Batch, plan: RecordingPlan) -> Recording:
        """Run a recorder's model on a batch and return what the plan names; the head computes what the task reads."""
        with self.task.focus(recorder.model, batch, plan.logits):
            return recorder.record(batch.inputs, plan, self.task.logits)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return this process's share of the active stage's objective over the batches of all processes.

        Each term is logged raw, and as it counts where terms are balanced; these values are those of all processes.
        """
        if self.active_stage is None:
            raise UserError("no active stage: give the Trainer a distill.StageSchedule")
        stage = self.active_stage.stage
        shares = share_means(self.compute_means(batch, stage.weights, stage.temperature))
        values = {name: share.value for name, share in shares.items()}
        logged = {f"train/{self.active_stage.name}/{name}": value for name, value in values.items()}
        scales: dict[str, Any] = {name: stage.weights[name] for name in shares}
        if stage.balance is not None:
            factors = self.balance.factors(self.active_stage, values)
            scales = {name: scale * factors[name] for name, scale in scales.items()}
            weighted = {f"{name}_weighted": scales[name] * value for name, value in values.items()}
            logged |= {f"train/{self.active_stage.name}/{name}": value for name, value in weighted.items()}
        loss = torch.stack([scales[name] * value for name, value in values.items()]).sum()
        self.step_values = {"loss": loss, **values}
        self.log_dict(logged, batch_size=len(batch.window_ids))
        self.log("train/loss", loss, prog_bar=True, batch_size=len(batch.window_ids))
        return torch.stack([scales[name] * share.loss for name, share in shares.items()]).sum()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep what the balance of the terms has seen."""
        checkpoint[BALANCE_KEY] = self.balance.state_dict()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Go on with it; checkpoints of before have none."""
        if BALANCE_KEY in checkpoint:
            self.balance.load_state_dict(checkpoint[BALANCE_KEY])

    # Evaluation: the same few lines serve validation, test, prediction and the report's teacher.

    def evaluate(self, model: PreTrainedModel, dataloader: DataLoader[Batch]) -> EvaluationResult:
        """Score a model (student, teacher, baseline) over an evaluation set, on every process together."""
        evaluation = self._start(dataloader)
        was_training = model.training
        model.eval().to(self.device)
        with torch.inference_mode(), self.trainer.precision_plugin.val_step_context():
            for batch in islice(dataloader, 1 if self.trainer.fast_dev_run else None):
                self._score(model, batch.to(self.device), evaluation)
        model.train(was_training)
        return evaluation.compute()

    def on_validation_epoch_start(self) -> None:
        """Start a new evaluation."""
        self._evaluation = self._start(self.trainer.val_dataloaders)

    def on_test_epoch_start(self) -> None:
        """Start a new evaluation."""
        self._evaluation = self._start(self.trainer.test_dataloaders)

    def on_predict_epoch_start(self) -> None:
        """Start a new evaluation, of which only the predictions are of use."""
        self._evaluation = self._start(self.trainer.predict_dataloaders)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Add the student's answers for one batch."""
        self._score(self.student, batch, self._evaluation)

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """Add the student's answers for one batch."""
        self._score(self.student, batch, self._evaluation)

    def predict_step(self, batch: Batch, batch_idx: int) -> None:
        """Add the student's answers for one batch."""
        self._score(self.student, batch, self._evaluation)

    def on_validation_epoch_end(self) -> None:
        """Log ``val/<score>``."""
        self._finish("val", prog_bar=[score.name for score in self.task.headline])

    def on_test_epoch_end(self) -> None:
        """Log ``test/<score>``."""
        self._finish("test")

    def on_predict_epoch_end(self) -> None:
        """Keep the predictions."""
        assert self._evaluation is not None
        self.last_evaluation = self._evaluation.compute()

    def load_student_weights(self, checkpoint: str | Path) -> None:
        """Put the student's weights of a checkpoint into the student; missing or foreign weights are an error."""
        state = load_checkpoint(Path(checkpoint))["state_dict"]
        weights = {
            name.removeprefix(STUDENT_PREFIX): tensor
            for name, tensor in state.items()
            if name.startswith(STUDENT_PREFIX)
        }
        self.student.load_state_dict(weights, strict=True)

    def _start(self, dataloader: Any) -> Evaluation:
        limits = (self.trainer.limit_val_batches, self.trainer.limit_test_batches, self.trainer.limit_predict_batches)
        is_trial = bool(self.trainer.fast_dev_run) or any(limit != 1.0 for limit in limits)
        # Sets without examples are scored item by item.
        examples = getattr(dataloader.dataset, "examples", dataloader.dataset)
        return self.task.evaluation(examples, partial=is_trial)

    def _score(self, model: PreTrainedModel, batch: Batch, evaluation: Evaluation | None) -> None:
        assert evaluation is not None
        with self.task.focus(model, batch):
            output = model(**batch.inputs)
        evaluation.update(self.task.logits(output), batch)

    def _finish(self, prefix: str, prog_bar: Iterable[str] = ()) -> None:
        assert self._evaluation is not None
        result = self._evaluation.compute()
        self.last_evaluation = result
        shown = set(prog_bar)
        for name, value in result.scores.items():
            # Already equal on every process, so nothing is left to reduce.
            self.log(f"{prefix}/{name}", value, prog_bar=name in shown, rank_zero_only=False)


def _parameters(optimizer: torch.optim.Optimizer) -> list[Tensor]:
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]
