"""The module that teaches a student what a frozen teacher knows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from lightning.pytorch.cli import OptimizerCallable
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor
from transformers import PreTrainedConfig, PreTrainedModel

from distill.losses.attention import AttentionLoss
from distill.losses.base import DistillationLoss
from distill.losses.embedding import EmbeddingLoss
from distill.losses.hidden import HiddenStateLoss
from distill.losses.logits import LabelLoss, LogitLoss
from distill.models.layer_map import resolve_layer_map
from distill.models.loading import (
    EMBEDDED,
    check_length,
    check_same_tokenizer,
    check_vocabulary,
    load_config,
    load_frozen,
    load_tokenizer,
)
from distill.models.recording import Recorder, model_shape
from distill.models.student import Student
from distill.modules.base import TaskModule
from distill.tasks.base import Task
from distill.types import Batch, LayerMap


def default_losses() -> dict[str, DistillationLoss]:
    """Return one term of each kind under its usual name."""
    return {
        "attention": AttentionLoss(),
        "hidden": HiddenStateLoss(),
        "embeddings": EmbeddingLoss(),
        "logits": LogitLoss(),
        "labels": LabelLoss(),
    }


class DistillationModule(TaskModule):
    """A trainable student and the frozen teacher that it learns from.

    The teacher is held outside the module tree: no checkpoint, optimizer, ``train()`` or precision setting can reach
    it. Checkpoints hold the student and the learned projections of the losses.

    Args:
        teacher: Folder or hub name of a model with the task's head; ``embedded`` is the one the package carries.
        student: The student's size and first weights.
        layer_map: Which teacher layer each student layer learns from: ``uniform``, ``last``, or for each student layer
            the teacher layer, counted from 0.
        losses: Named terms that stages may weight; one of each kind when left out.
        task: What is predicted; extractive question answering when left out.
        optimizer: Makes the optimizer; the learning rate is the stage's.
        teacher_dtype: Precision that the teacher is held in.
    """

    def __init__(
        self,
        teacher: str = EMBEDDED,
        student: Student = Student(),  # noqa: B008 - frozen, so sharing it is safe
        layer_map: Literal["uniform", "last"] | list[int] = "uniform",
        losses: dict[str, DistillationLoss] | None = None,
        task: Task | None = None,
        optimizer: OptimizerCallable = torch.optim.AdamW,
        teacher_dtype: Literal["float32", "bfloat16", "float16"] = "float32",
    ) -> None:
        super().__init__(losses if losses is not None else default_losses(), task, optimizer)
        self.teacher_source = teacher
        self.student_settings = student
        self.layer_map_settings: str | Sequence[int] = layer_map
        self.teacher_dtype = teacher_dtype
        #: Which teacher layers the student learns from; known once the configurations are.
        self.layer_map: LayerMap | None = None
        # A tuple hides the teacher from nn.Module, which would register it and so save, train and convert it.
        self._teacher: tuple[PreTrainedModel, ...] = ()
        self._student_recorder: Recorder | None = None
        self._teacher_recorder: Recorder | None = None

    @property
    def teacher(self) -> PreTrainedModel | None:
        """The frozen teacher; None before the models are loaded."""
        return self._teacher[0] if self._teacher else None

    @property
    def starts_at_random(self) -> bool:
        """Whether the student starts from no folder."""
        return self.student_settings.starts_at_random

    def check(self, max_length: int) -> None:
        """Check sizes, layer map, losses and tokenizers from the configurations alone.

        Raises:
            UserError: If something does not fit.
        """
        teacher = load_config(self.teacher_source)
        student = self.student_settings.config(teacher)
        self._bind(student, teacher)
        teacher_tokenizer = load_tokenizer(self.teacher_source)
        if not self.starts_at_random:
            check_same_tokenizer(load_tokenizer(self.student_settings.init), teacher_tokenizer)
        for role, config in (("student", student), ("teacher", teacher)):
            check_length(max_length, config, role)
            check_vocabulary(teacher_tokenizer, config, role)

    def configure_model(self) -> None:
        """Build the student and the learned parts of the losses, and load the teacher if it is to teach; once."""
        if self._student_recorder is None:
            teacher_config = load_config(self.teacher_source)
            self.student = self.student_settings.build(self.task, teacher_config)
            self._bind(self.student.config, teacher_config)
            self._student_recorder = Recorder(self.student)
        is_evaluation = self._trainer is not None and self._trainer.state.fn != TrainerFn.FITTING
        if not self._teacher and not is_evaluation:
            self._teacher = (load_frozen(self.task, self.teacher_source, self.teacher_dtype),)
            self._teacher_recorder = Recorder(self._teacher[0])

    def on_fit_start(self) -> None:
        """Bring the teacher, which Lightning does not know, to the student's device."""
        self._teacher[0].to(self.device)

    def compute_terms(
        self, batch: Batch, weights: Mapping[str, float], temperature: float
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the weighted objective of a batch, (), and the raw mean of each active term."""
        student_plan, teacher_plan = self.objective.plans(weights)
        assert self._student_recorder is not None
        student = self.record(self._student_recorder, batch, student_plan)
        teacher = None
        if teacher_plan is not None:
            assert self._teacher_recorder is not None
            with torch.no_grad():
                teacher = self.record(self._teacher_recorder, batch, teacher_plan)
        value = self.objective(student, teacher, batch, weights, temperature)
        return value.total, value.terms

    def _bind(self, student: PreTrainedConfig, teacher: PreTrainedConfig) -> None:
        """Settle the layer map and the learned parts of the losses, once."""
        if self.layer_map is not None:
            return
        shapes = model_shape(student), model_shape(teacher)
        self.layer_map = resolve_layer_map(self.layer_map_settings, *shapes)
        self.objective.bind(*shapes, self.layer_map, self.task)
