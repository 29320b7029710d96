"""What every module shares: one trainable student, its task, its weighted terms, its evaluation."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.cli import OptimizerCallable
from torch import Tensor
from torch.utils.data import DataLoader
from transformers import PreTrainedConfig, PreTrainedModel

from distill.checkpoints import load_checkpoint
from distill.data.base import TaskDataModule
from distill.log_steps import is_log_step
from distill.losses.balance import LossBalance
from distill.losses.base import DistillationLoss
from distill.losses.objective import Objective
from distill.losses.share import AverageCounts, Share, StepCounts, share_means
from distill.models.recording import Recorder, known_padding
from distill.models.sharing import share_encoder
from distill.modules.run import RunModule, part_of, run_data
from distill.stages import Stage
from distill.tasks.base import Evaluation, EvaluationResult, Score, Task
from distill.tasks.labelled import check_same_labels
from distill.tasks.question_answering.task import QuestionAnswering
from distill.types import Batch, Mean, Recording, RecordingPlan, UserError

#: Prefix of the student's weights in a checkpoint.
STUDENT_PREFIX = "student."


class TaskModule(RunModule):
    """A trainable student with a task, an objective of named terms, and one way of being evaluated.

    It is a run of its own, or the member of a run of several tasks whose students share an encoder: the same code, but
    for what it logs, which then goes through the run's module under the task's name.

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
        super().__init__(optimizer)
        self.task = task if task is not None else self.default_task()
        self.objective = Objective(losses)
        self.balance = LossBalance()
        #: What the task is called in a run of several.
        self.name: str | None = None
        #: How much its objective counts there.
        self.weight = 1.0
        # The module of such a run, and the member that owns its encoder; no parts of this one, hence the tuple.
        self._run: tuple[RunModule, TaskModule] | None = None
        #: Scores and predictions of the student in the latest validation, test or prediction.
        self.last_evaluation: EvaluationResult | None = None
        self._evaluation: Evaluation | None = None
        self._averages, self._others = AverageCounts(), StepCounts()
        self._unlogged: dict[str, Tensor] = {}

    @property
    def teacher(self) -> PreTrainedModel | None:
        """The frozen teacher, where the module has one."""
        return None

    @property
    @abstractmethod
    def student_config(self) -> PreTrainedConfig:
        """The student's configuration, before any weights are loaded."""

    @property
    def members(self) -> Mapping[str | None, TaskModule]:
        """Itself alone."""
        return {self.name: self}

    @property
    def headline(self) -> tuple[Score, ...]:
        """The scores that tables and reports put first."""
        return self.task.headline

    @property
    def main_score(self) -> Score:
        """The task's."""
        return self.task.main_score

    @property
    def terms(self) -> tuple[str, ...]:
        """The losses that stages may weight."""
        return tuple(self.objective.terms)

    def mean_score(self, results: Mapping[str | None, EvaluationResult]) -> float | None:
        """Return the main score; a mean over one task."""
        return results[self.name].scores[self.main_score.name]

    @property
    def data(self) -> Any:
        """The task's data in the run; nothing without a data module."""
        data = run_data(self)
        return data.parts[self.name] if data is not None else None

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

    def check_data(self, data: TaskDataModule) -> None:
        """Check models and data, see :meth:`check`."""
        if list(data.parts) != [None]:
            raise UserError(f"data holds the tasks {', '.join(map(str, data.parts))}; give the model MultiTaskModule")
        self.check(data.max_length)

    def check_stage(self, name: str, stage: Stage) -> None:
        """Check that the stage names no tasks."""
        if stage.tasks is not None:
            raise UserError(f"stage {name!r}: only a MultiTaskModule has tasks to name; leave tasks out")

    def join(self, run: RunModule, name: str, weight: float, owner: TaskModule) -> None:
        """Become the member of a run of several tasks.

        Args:
            run: The module of the run.
            name: What the task is called in it.
            weight: How much its objective counts.
            owner: The member whose student's encoder all of them compute with.
        """
        self._run, self.name, self.weight = (run, owner), name, weight

    def share_encoder(self) -> None:
        """Let the student compute with the run's encoder, once it is built and before it is recorded."""
        if self._run and self._run[1] is not self:
            share_encoder(self.student, self._run[1].student)

    def log(self, name: str, *args: Any, **kwargs: Any) -> None:
        """Log a value, in a run of several tasks as ``<task>/<name>``."""
        if self._run:
            self._run[0].log(f"{self.name}/{name}", *args, **kwargs)
        else:
            super().log(name, *args, **kwargs)

    def compute_means(self, batch: Batch, weights: Mapping[str, float], temperature: float) -> dict[str, Mean]:
        """Return the unweighted, undivided mean of each active term over a batch."""
        raise UserError(f"{type(self).__name__} has no training objective")

    def record(self, recorder: Recorder, batch: Batch, plan: RecordingPlan) -> Recording:
        """Run a recorder's model on a batch and return what the plan names; the head computes what the task reads."""
        with known_padding(batch), self.task.focus(recorder.model, batch, plan.logits):
            return recorder.record(batch.inputs, plan, self.task.logits)

    def shares(self, batch: Batch, weights: Mapping[str, float], temperature: float) -> dict[str, Share]:
        """Return what a batch holds of each active term's mean over its optimizer step, on all processes; collective.

        The Trainer divides by the batches of a step: gradients that are accumulated sum to those of one batch of all.
        """
        others = self._others(batch.others, weights, self.objective)
        averages = self._averages(batch.average, weights, self.objective)
        return share_means(self.compute_means(batch, weights, temperature), others, batch.weight, averages)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return this process's share of the active stage's objective over the batches of all processes.

        Where anybody looks, each term is logged raw, and as it counts where terms are balanced; these values are those
        of all processes. Of several tasks that is the latest batch of each.
        """
        if (active := self.active_stage) is None:
            raise UserError("no active stage: give the Trainer a distill.StageSchedule")
        shares = self.shares(batch, active.stage.weights, active.stage.temperature)
        values = {name: share.value for name, share in shares.items()}
        scales = self.balance.scales(active, values)
        weighted = {f"{name}_weighted": scales[name] * value for name, value in values.items()}
        loss = torch.stack(list(weighted.values())).sum()
        self.step_values = {"loss": loss, **values}
        shown = values if active.stage.balance is None else values | weighted
        self._unlogged = {f"train/{active.name}/{name}": value for name, value in shown.items()} | {"train/loss": loss}
        if self._run is None and is_log_step(self.trainer, active):
            self.log_latest()
        return self.weight * torch.stack([scales[name] * share.loss for name, share in shares.items()]).sum()

    def log_latest(self) -> None:
        """Log what the latest training batch gave, unless that is done."""
        self.log_dict(self._unlogged, batch_size=1)
        self._unlogged = {}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep what the balance of the terms has seen, and what the head's classes stand for."""
        checkpoint["loss_balance"] = self.balance.state_dict()
        if self.task.labels:
            checkpoint["labels"] = list(self.task.labels)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Go on with the balance, which an evaluation does without; checkpoints of before have neither.

        Raises:
            UserError: If the checkpoint's classes stand for other labels.
        """
        check_same_labels(checkpoint.get("labels"), self.task, self.name)
        if "loss_balance" in checkpoint and not self.is_evaluation:
            self.balance.load_state_dict(checkpoint["loss_balance"])

    # Evaluation: the same few lines serve validation, test, prediction and the report's teacher.

    def evaluate(self, model: PreTrainedModel, dataloader: DataLoader[Batch]) -> EvaluationResult:
        """Score a model (student, teacher, baseline) over an evaluation set, on every process together."""
        evaluation = self.start_evaluation(dataloader)
        was_training = model.training
        model.eval().to(self.device)
        with torch.inference_mode(), self.trainer.precision_plugin.val_step_context():
            for batch in islice(dataloader, 1 if self.trainer.fast_dev_run else None):
                self._score(model, batch.to(self.device), evaluation)
        model.train(was_training)
        return evaluation.compute()

    def on_validation_epoch_start(self) -> None:
        """Start a new evaluation."""
        self._evaluation = self.start_evaluation(self.trainer.val_dataloaders)

    def on_test_epoch_start(self) -> None:
        """Start a new evaluation."""
        self._evaluation = self.start_evaluation(self.trainer.test_dataloaders)

    def on_predict_epoch_start(self) -> None:
        """Start a new evaluation, of which only the predictions are of use."""
        self._evaluation = self.start_evaluation(self.trainer.predict_dataloaders)

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
        self.student.load_state_dict(part_of(state, STUDENT_PREFIX), strict=True)

    def start_evaluation(self, dataloaders: Any) -> Evaluation:
        """Start an evaluation over the set of a loader, or over the task's own of several loaders."""
        dataloader = dataloaders[self.name] if isinstance(dataloaders, Mapping) else dataloaders
        limits = (self.trainer.limit_val_batches, self.trainer.limit_test_batches, self.trainer.limit_predict_batches)
        is_trial = bool(self.trainer.fast_dev_run) or any(limit != 1.0 for limit in limits)
        # Sets without examples are scored item by item.
        examples = getattr(dataloader.dataset, "examples", dataloader.dataset)
        return self.task.evaluation(examples, partial=is_trial)

    def _score(self, model: PreTrainedModel, batch: Batch, evaluation: Evaluation | None) -> None:
        assert evaluation is not None
        with known_padding(batch), self.task.focus(model, batch):
            output = model(**batch.inputs)
        evaluation.update(self.task.logits(output), batch)

    def _finish(self, prefix: str, prog_bar: Sequence[str] = ()) -> None:
        assert self._evaluation is not None
        result = self._evaluation.compute()
        self.last_evaluation = result
        for name, value in result.scores.items():
            # Already equal on every process, so nothing is left to reduce.
            self.log(f"{prefix}/{name}", value, prog_bar=name in prog_bar, rank_zero_only=False)
