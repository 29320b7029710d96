"""The module that teaches one student several tasks, each by its own teacher, by one that tasks share, or by labels."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import lightning as L
import torch
from lightning.pytorch.cli import OptimizerCallable
from torch import Tensor, nn
from torch.utils.data import DataLoader
from transformers import PreTrainedModel

from distill.checkpoints import load_checkpoint
from distill.data.base import TaskDataModule
from distill.log_steps import is_log_step
from distill.losses.base import DistillationLoss
from distill.models.loading import load_frozen
from distill.models.student import Student
from distill.modules.base import STUDENT_PREFIX, TaskModule
from distill.modules.distillation import DistillationModule, default_losses
from distill.modules.members import LayerMapSettings, TaskSettings, build_member, check_members, check_tasks
from distill.modules.run import RunModule, part_of
from distill.stages import ActiveStage, Stage
from distill.tasks.base import EvaluationResult, Score, Task
from distill.teaching.teachers import TeacherCache
from distill.types import Batch, UserError

#: The score of a run of several tasks: the mean of the tasks' main scores, in per cent.
MEAN = Score("mean", "mean over tasks")


class MultiTaskModule(RunModule):
    """A student whose encoder several tasks share, with a head for each of them.

    Every batch is of one task and trains the encoder and that task's head, by the losses of the stage and from that
    task's teacher. Each task is an ordinary module for one task (``members``): its own teachers and their stored
    logits, its own layer map and projections, its own balance of the terms, its own scores.

    The encoder is that of the first task that has a teacher; where a student inherits layers, they are this teacher's.

    Args:
        tasks: Name to task; the names are those of the data and begin the names of all that is logged.
        student: The student's size and first weights; sizes that are left out are the teachers', so must be theirs all.
        layer_map: Which teacher layer each student layer learns from, see ``DistillationModule``.
        losses: Named terms that stages may weight; one of each kind when left out. Every task has its own projections.
            Terms that compare with a teacher do not apply to tasks without one.
        optimizer: Makes the optimizer; the learning rate is the stage's.
        teacher_dtype: Precision that the teachers are held in; left out, bfloat16 in a run in bfloat16, else float32.
        teacher_cache: How teachers' logits are stored; null runs the teachers in every step.

    Raises:
        UserError: If there is no task, a name or a weight cannot be used, or there is nothing to take sizes from.
    """

    def __init__(
        self,
        tasks: dict[str, TaskSettings],
        student: Student = Student(),  # noqa: B008 - frozen, so sharing it is safe
        layer_map: LayerMapSettings = "uniform",
        losses: dict[str, DistillationLoss] | None = None,
        optimizer: OptimizerCallable = torch.optim.AdamW,
        teacher_dtype: Literal["float32", "bfloat16", "float16"] | None = None,
        teacher_cache: TeacherCache | None = TeacherCache(),  # noqa: B008 - frozen, so sharing it is safe
    ) -> None:
        super().__init__(optimizer)
        check_tasks(tasks, student)
        taught = [name for name, settings in tasks.items() if settings.teacher is not None]
        #: Whose tokenizer cuts the text, and whose family and sizes are the student's where it names none.
        source = str(tasks[taught[0]].teacher if taught else student.folder)
        shared = losses if losses is not None else default_losses()
        self.tasks = nn.ModuleDict()
        for name, settings in tasks.items():
            try:
                member = build_member(
                    settings,
                    student,
                    source,
                    losses=shared,
                    layer_map=layer_map,
                    teacher_dtype=teacher_dtype,
                    teacher_cache=teacher_cache,
                )
            except UserError as error:
                raise UserError(f"model.tasks.{name}: {error}") from error
            if isinstance(member, DistillationModule):
                member.load_teacher = self._load_teacher
            self.tasks[name] = member
        self._owner_name = taught[0] if taught else next(iter(tasks))
        for name, member in self._members().items():
            member.join(self, name, tasks[name].weight, self._members()[self._owner_name])
        self._loaded: dict[tuple[type[Task], tuple[str, ...], str, str], PreTrainedModel] = {}
        self._active_stage: ActiveStage | None = None
        self._prepared_stage: int | None = None

    @property
    def members(self) -> Mapping[str | None, TaskModule]:
        """The module of each task by its name."""
        return dict(self._members().items())

    @property
    def trainer(self) -> L.Trainer:
        """The trainer of the run, which is also every member's."""
        return super().trainer

    @trainer.setter
    def trainer(self, trainer: L.Trainer | None) -> None:
        self._trainer = trainer
        for member in self._members().values():
            member.trainer = trainer

    @property
    def active_stage(self) -> ActiveStage | None:  # type: ignore[override]
        """The stage of the run; each member's has only the weights of its own terms, none where it is idle."""
        return self._active_stage

    @active_stage.setter
    def active_stage(self, active: ActiveStage | None) -> None:
        self._active_stage = active
        for name, member in self._members().items():
            member.active_stage = None if active is None else replace(active, stage=self._share(name, active.stage))

    @property
    def terms(self) -> tuple[str, ...]:
        """The losses of all tasks."""
        return tuple(dict.fromkeys(term for member in self._members().values() for term in member.terms))

    @property
    def main_score(self) -> Score:
        """The mean over tasks."""
        return MEAN

    @property
    def trains_head(self) -> bool:
        """Whether some head is trained; the mean then is a measure of the training."""
        return any(
            member.active_stage is None or (bool(member.active_stage.stage.weights) and member.trains_head)
            for member in self._members().values()
        )

    def check_data(self, data: TaskDataModule) -> None:
        """Check every task's models against its data."""
        names, known = list(self.tasks), list(data.parts)
        if set(names) != set(known):
            have = ", ".join(str(name) for name in known) if known != [None] else "one task without a name"
            raise UserError(f"model.tasks are {', '.join(names)}, but the data holds {have}; give both the same names")
        check_members(self._members(), self._owner_name, data)

    def check_stage(self, name: str, stage: Stage) -> None:
        """Check that the tasks that a stage names exist, and that it trains something of each of its tasks."""
        for task in stage.tasks or ():
            if task not in self.tasks:
                raise UserError(f"stage {name!r}: there is no task {task!r}; the tasks are {', '.join(self.tasks)}")
        for task in stage.tasks or self.tasks:
            if not any(self._share(task, stage).weights.values()):
                raise UserError(
                    f"stage {name!r}: it weighs nothing that task {task!r} has, which learns from labels alone or has "
                    "losses of its own; name the tasks of the stage (tasks: [...]) or weigh labels too"
                )

    def configure_model(self) -> None:
        """Build the students, let them share the encoder, and load teachers if they are to teach; once."""
        members = self._members()
        for member in (members[self._owner_name], *members.values()):
            member.configure_model()
        self._loaded.clear()

    def on_fit_start(self) -> None:
        """Forget what was prepared for an earlier fit."""
        self._prepared_stage = None
        for member in self._members().values():
            member.on_fit_start()

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Before a stage's first batch, have its teachers on the device or their logits open."""
        active = self.active_stage
        if active is None or active.index == self._prepared_stage:
            return
        for member in self._members().values():
            member.on_train_batch_start(batch, batch_idx)
        for member in self._members().values():
            if isinstance(member, DistillationModule):
                member.place_teachers()
        self._prepared_stage = active.index

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the objective of the batch's task."""
        member = self.members[batch.task]
        loss = member.training_step(batch, batch_idx)
        self.step_values = member.step_values
        if is_log_step(self.trainer, self.active_stage):
            self._each(lambda trained: trained.log_latest())
            self.log("train/loss", member.weight * self.step_values["loss"], batch_size=len(batch.window_ids))
        return loss

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep what every member keeps."""
        checkpoint["tasks"] = {name: {} for name in self.tasks}
        for name, member in self._members().items():
            member.on_save_checkpoint(checkpoint["tasks"][name])

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Go on with it.

        Raises:
            UserError: If the checkpoint is of other tasks.
        """
        saved = checkpoint.get("tasks", {})
        if set(saved) != set(self.tasks):
            raise UserError(
                f"the checkpoint's tasks are {', '.join(saved) or 'none'}, not {', '.join(self.tasks)}; "
                "name a checkpoint of this configuration"
            )
        for name, member in self._members().items():
            member.on_load_checkpoint(saved[name])

    def load_student_weights(self, checkpoint: str | Path) -> None:
        """Put the weights of encoder and heads into the students; missing or foreign weights are an error."""
        state = load_checkpoint(Path(checkpoint))["state_dict"]
        for name, member in self._members().items():
            member.student.load_state_dict(part_of(state, f"tasks.{name}.{STUDENT_PREFIX}"), strict=True)

    def mean_score(self, results: Mapping[str | None, EvaluationResult]) -> float | None:
        """Return the mean of the tasks' main scores, as far as more is better; nothing where it is of none."""
        main = {name: member.main_score for name, member in self.members.items() if name in results}
        values = [results[name].scores[score.name] for name, score in main.items() if score.higher_is_better]
        return sum(values) / len(values) if values else None

    def on_validation_epoch_start(self) -> None:
        """Start every task's evaluation."""
        self._each(lambda member: member.on_validation_epoch_start())

    def on_test_epoch_start(self) -> None:
        """Start every task's evaluation."""
        self._each(lambda member: member.on_test_epoch_start())

    def on_predict_epoch_start(self) -> None:
        """Start the evaluation of each task that has something to predict."""
        for name in self.trainer.predict_dataloaders:
            self._members()[name].on_predict_epoch_start()

    def validation_step(self, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> None:
        """Add the student's answers for one batch of a task."""
        self._of(self.trainer.val_dataloaders, dataloader_idx).validation_step(batch, batch_idx)

    def test_step(self, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> None:
        """Add the student's answers for one batch of a task."""
        self._of(self.trainer.test_dataloaders, dataloader_idx).test_step(batch, batch_idx)

    def predict_step(self, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> None:
        """Add the student's answers for one batch of a task."""
        self._of(self.trainer.predict_dataloaders, dataloader_idx).predict_step(batch, batch_idx)

    def on_validation_epoch_end(self) -> None:
        """Log ``<task>/val/<score>`` and ``val/mean``."""
        self._each(lambda member: member.on_validation_epoch_end())
        self._log_mean("val")

    def on_test_epoch_end(self) -> None:
        """Log ``<task>/test/<score>`` and ``test/mean``."""
        self._each(lambda member: member.on_test_epoch_end())
        self._log_mean("test")

    def on_predict_epoch_end(self) -> None:
        """Keep their predictions."""
        for name in self.trainer.predict_dataloaders:
            self._members()[name].on_predict_epoch_end()

    def _members(self) -> dict[str, Any]:
        return dict(self.tasks.items())

    def _each(self, act: Callable[[TaskModule], None]) -> None:
        for member in self._members().values():
            act(member)

    def _of(self, loaders: Mapping[str, DataLoader[Batch]], dataloader_idx: int) -> TaskModule:
        return self.members[list(loaders)[dataloader_idx]]

    def _log_mean(self, prefix: str) -> None:
        results = {name: member.last_evaluation for name, member in self.members.items() if member.last_evaluation}
        if (mean := self.mean_score(results)) is not None:
            self.log(f"{prefix}/{MEAN.name}", mean, prog_bar=True, rank_zero_only=False)

    def _share(self, name: str, stage: Stage) -> Stage:
        """Return a stage with the weights of a task's own terms alone, without any where the task is idle."""
        is_idle = stage.tasks is not None and name not in stage.tasks
        known = () if is_idle else self._members()[name].terms
        return replace(stage, weights={term: weight for term, weight in stage.weights.items() if term in known})

    def _load_teacher(self, task: Task, source: str, dtype: str) -> PreTrainedModel:
        """Load a teacher, or return the one that another task of the same kind, with the same labels, has loaded."""
        key = (type(task), task.labels, source, dtype)
        if key not in self._loaded:
            self._loaded[key] = load_frozen(task, source, dtype)
        return self._loaded[key]
