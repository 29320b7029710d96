"""Losses on the head's scores: against the teacher's distribution and against the labels."""

from __future__ import annotations

from typing import Literal, get_args

from torch import Tensor
from torch.nn import functional as F

from distill.losses.base import DistillationLoss, constant_count, recorded, widen
from distill.tasks.base import Task
from distill.types import Batch, LayerMap, Mean, ModelShape, Recording, RecordingPlan, UserError

LogitDistance = Literal["kl", "soft_cross_entropy"]


class _HeadLoss(DistillationLoss):
    """A loss on the task's rows of classes."""

    _task: Task

    def bind(self, student: ModelShape, teacher: ModelShape | None, layer_map: LayerMap | None, task: Task) -> None:
        """Take the task, which lays the head's scores out as rows of classes.

        Raises:
            UserError: If the loss needs a teacher and there is none.
        """
        if self.needs_teacher:
            self._required_teacher(teacher)
        self._task = task

    @property
    def student_plan(self) -> RecordingPlan:
        """The logits alone."""
        return RecordingPlan(logits=True)

    @property
    def teacher_plan(self) -> RecordingPlan:
        """The logits alone, or nothing when no teacher is needed."""
        return RecordingPlan(logits=self.needs_teacher, padding=self.needs_teacher and not self.mask_padding)

    def count(self, batch: Batch) -> Tensor:
        """Return the number of rows."""
        return constant_count(len(self._task.targets(batch)), batch.attention_mask)

    def _rows(self, recording: Recording, batch: Batch) -> Tensor:
        """Return the (N, C) rows of classes in float32 or float64."""
        if recording.logits is None:
            raise TypeError("the recording holds no logits; record it with this loss's plan")
        # Widened first: the filling of places that cannot be chosen does not fit into float16.
        return self._task.rows(widen(recording.logits), batch, self.mask_padding)


class LogitLoss(_HeadLoss):
    """Distance between the softened distributions of student and teacher, averaged over rows.

    With p = softmax(logits / T) for each row of classes (Hinton et al., arXiv 1503.02531):

    - ``kl``: ``T^2 * sum_c p_t (log p_t - log p_s)``
    - ``soft_cross_entropy``: ``-T^2 * sum_c p_t log p_s``, the same gradient, but a minimum at the teacher's entropy

    The factor T^2 keeps gradients of one size over temperatures, in both. ``count`` is the number of rows; in question
    answering a start and an end row for each window, so the value is the *mean* of start and end: a published sum of
    the two is weight 2. No rows give 0.

    Args:
        kind: ``kl`` or ``soft_cross_entropy``.
        mask_padding: Leave padding out of the classes.

    Raises:
        UserError: If the kind is unknown.
    """

    def __init__(self, kind: LogitDistance = "kl", mask_padding: bool = True) -> None:
        super().__init__(mask_padding)
        if kind not in get_args(LogitDistance):
            raise UserError(f"LogitLoss kind {kind!r} is unknown; use {' or '.join(get_args(LogitDistance))}")
        self.kind: LogitDistance = kind

    def _mean(self, student: Recording, teacher: Recording | None, batch: Batch, temperature: float) -> Mean:
        student_log = (self._rows(student, batch) / temperature).log_softmax(-1)
        teacher_log = (self._rows(recorded(teacher), batch).detach() / temperature).log_softmax(-1)
        if self.kind == "kl":
            total = F.kl_div(student_log, teacher_log, reduction="sum", log_target=True)
        else:
            total = -(teacher_log.exp() * student_log).sum()
        return Mean(temperature**2 * total, constant_count(student_log.shape[0], student_log))


class LabelLoss(_HeadLoss):
    """Cross entropy of the student with the labels, averaged over rows: ``-log p_s[target]``.

    ``count`` is the number of rows; in question answering a start and an end row for each window. No rows give 0.
    The temperature does not apply to labels.

    Args:
        mask_padding: Leave padding out of the classes.
    """

    needs_teacher = False

    def _mean(self, student: Recording, teacher: Recording | None, batch: Batch, temperature: float) -> Mean:
        rows = self._rows(student, batch)
        total = F.cross_entropy(rows, self._task.targets(batch), reduction="sum")
        return Mean(total, constant_count(rows.shape[0], rows))
