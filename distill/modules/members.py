"""The tasks of a student as its configuration names them, and the module that each becomes."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from torch import nn
from transformers import PreTrainedConfig, PreTrainedModel

from distill.data.base import TaskDataModule
from distill.losses.base import DistillationLoss
from distill.models.layer_map import SeparateLayers
from distill.models.loading import check_same_tokenizer, load_config, load_tokenizer
from distill.models.saving import ENCODER
from distill.models.sharing import check_same_encoder
from distill.models.student import TRIMMED, Student
from distill.modules.base import TaskModule
from distill.modules.distillation import DistillationModule
from distill.modules.single import SingleModule
from distill.tasks.base import Task
from distill.teaching.teachers import ExtraTeacher, TeacherCache
from distill.types import UserError

#: First parts of the names of what is logged, and a folder beside the tasks', which therefore cannot be a task's name.
_RESERVED = {"train", "val", "test", "report", "latency", "throughput", "final", "mean", ENCODER}

#: Characters of a task's name, which names folders and columns too.
_LONGEST_NAME = 64

LayerMapSettings = Literal["uniform", "last", "skip", "similarity", "pruned"] | list[int] | SeparateLayers


@dataclass(frozen=True)
class TaskSettings:
    """One of the tasks of a student.

    Attributes:
        task: What is predicted.
        teacher: Folder or hub name of a model with the task's head; without one the task is learned from labels alone.
            Tasks of one kind that name the same teacher share it.
        weight: How much the task's objective counts beside the others'.
        layer_map: Which teacher layers the student learns from; the module's when left out.
        losses: The terms that stages may weight; the module's when left out.
        extra_teachers: More teachers whose logits are averaged with the first one's.
    """

    task: Task
    teacher: str | None = None
    weight: float = 1.0
    layer_map: LayerMapSettings | None = None
    losses: dict[str, DistillationLoss] | None = None
    extra_teachers: list[ExtraTeacher] | None = None


def check_tasks(tasks: Mapping[str, TaskSettings], student: Student) -> None:
    """Check the tasks of a student, before anything is loaded.

    Raises:
        UserError: If there is no task, a name or a weight cannot be used, or there is nothing to take sizes from.
    """
    if not tasks:
        raise UserError("model.tasks: name at least one task")
    for name, settings in tasks.items():
        # Heads are attributes of a ModuleDict, whose own names are taken.
        is_taken = name in _RESERVED or hasattr(nn.ModuleDict(), name)
        if is_taken or len(name) > _LONGEST_NAME or not name.replace("_", "").replace("-", "").isalnum():
            raise UserError(
                f"model.tasks: {name!r} {'is taken and ' if is_taken else ''}cannot be the name of a task; use at most "
                f"{_LONGEST_NAME} letters, digits, - and _"
            )
        if not 0 < settings.weight < math.inf:
            raise UserError(f"model.tasks.{name}: weight must be more than 0, not {settings.weight}")
        for option in ("layer_map", "extra_teachers"):
            if settings.teacher is None and getattr(settings, option):
                raise UserError(f"model.tasks.{name}: {option} without a teacher; name one, or leave {option} out")
    if student.vocabulary == TRIMMED:
        raise UserError("student.vocabulary trimmed: pieces are counted for one task alone; use full")
    if student.folder is None and all(settings.teacher is None for settings in tasks.values()):
        raise UserError("model.tasks: without any teacher there are no sizes; start from a folder, student.init")


def build_member(
    settings: TaskSettings,
    student: Student,
    source: str,
    losses: Mapping[str, DistillationLoss],
    layer_map: LayerMapSettings,
    teacher_dtype: Literal["float32", "bfloat16", "float16"] | None,
    teacher_cache: TeacherCache | None,
) -> TaskModule:
    """Return the module of one task, with losses of its own.

    Args:
        settings: The task.
        student: The student's size and first weights.
        source: Whose family and sizes the student has where the task has no teacher.
        losses: The terms, where the task names none; copied.
        layer_map: Which teacher layers the student learns from, where the task does not say.
        teacher_dtype: Precision that the teachers are held in; None follows the run's.
        teacher_cache: How teachers' logits are stored.
    """
    own = copy.deepcopy(dict(settings.losses if settings.losses is not None else losses))
    if settings.teacher is None:
        return _LabelledTask(settings.task, student, source, own)
    return DistillationModule(
        settings.teacher,
        student,
        settings.layer_map if settings.layer_map is not None else layer_map,
        own,
        settings.task,
        teacher_dtype=teacher_dtype,
        extra_teachers=settings.extra_teachers,
        teacher_cache=teacher_cache,
    )


def check_members(members: Mapping[str, Any], owner: str, data: TaskDataModule) -> None:
    """Check the module of each task by its data, and that all can compute with the owner's encoder.

    Args:
        members: Name of each task to its module.
        owner: The task whose student's encoder is shared.
        data: The data of the tasks.

    Raises:
        UserError: If something does not fit; the message names the task.
    """
    tokenizer = load_tokenizer(members[owner].tokenizer_source)
    for name, member in members.items():
        try:
            check_same_tokenizer(load_tokenizer(member.tokenizer_source), tokenizer, f"the teacher of {name}")
            member.check(data.parts[name].max_length)
            check_same_encoder(member.student_config, members[owner].student_config)
        except UserError as error:
            raise UserError(f"model.tasks.{name}: {error}") from error


class _LabelledTask(SingleModule):
    """A task of the student without a teacher."""

    def __init__(self, task: Task, student: Student, source: str, losses: Mapping[str, DistillationLoss]) -> None:
        labelled = {name: loss for name, loss in losses.items() if not loss.needs_teacher}
        super().__init__(source, losses=labelled, task=task)
        self.student_settings = student

    @property
    def starts_at_random(self) -> bool:
        """Whether the shared encoder does."""
        return True

    @property
    def student_config(self) -> PreTrainedConfig:
        """The student's configuration, before any weights are loaded."""
        assert self.model_source is not None
        return self.student_settings.config(load_config(self.model_source))

    def _build(self) -> PreTrainedModel:
        assert self.model_source is not None
        return self.student_settings.build(self.task, load_config(self.model_source))
