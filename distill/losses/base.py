"""What every distillation loss has in common."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from distill.tasks.base import Task
from distill.types import Batch, LayerMap, Mean, ModelShape, Recording, RecordingPlan, UserError


def widen(tensor: Tensor) -> Tensor:
    """Return the tensor in float32, or float64 if it is that already: low precision must not reach a reduction."""
    return tensor if tensor.dtype == torch.float64 else tensor.float()


class DistillationLoss(nn.Module, ABC):
    """A distance between what was recorded of the student and of the teacher, or of the student and the labels.

    Building one is cheap and only checks its options. :meth:`bind` then tells it the models: it checks that they fit,
    creates what the loss learns, and settles what has to be recorded. Teacher tensors never receive gradients.

    Args:
        mask_padding: Leave padding out of the mean. False averages over padding too, as some released recipes do.
    """

    #: Whether the loss compares with a teacher.
    needs_teacher: bool = True

    def __init__(self, mask_padding: bool = True) -> None:
        super().__init__()
        self.mask_padding = mask_padding

    @abstractmethod
    def bind(self, student: ModelShape, teacher: ModelShape | None, layer_map: LayerMap | None, task: Task) -> None:
        """Check that the models fit and create learned parameters; call once, before the optimizer is built.

        Raises:
            UserError: If the loss cannot compare these models.
        """

    @property
    @abstractmethod
    def student_plan(self) -> RecordingPlan:
        """What has to be recorded of the student; valid after :meth:`bind`."""

    @property
    @abstractmethod
    def teacher_plan(self) -> RecordingPlan:
        """What has to be recorded of the teacher; valid after :meth:`bind`."""

    def forward(self, student: Recording, teacher: Recording | None, batch: Batch, temperature: float = 1.0) -> Mean:
        """Compute the loss of one batch in float32 or float64, outside autocast.

        Args:
            student: At least what :attr:`student_plan` names.
            teacher: At least what :attr:`teacher_plan` names; unused by losses that need no teacher.
            batch: The batch that both recordings are of.
            temperature: Softens logits where the loss compares distributions over classes; above 0.

        Returns:
            The undivided mean. Totals and counts of several batches add up to those of the joined batch.
        """
        with torch.autocast(batch.attention_mask.device.type, enabled=False):
            return self._mean(student, teacher, batch, temperature)

    @abstractmethod
    def _mean(self, student: Recording, teacher: Recording | None, batch: Batch, temperature: float) -> Mean:
        """Compute the loss; :meth:`forward` has switched autocast off."""

    @abstractmethod
    def count(self, batch: Batch) -> Tensor:
        """Return the count of the mean over a batch, (), before any model has seen it."""

    def _required_teacher(self, teacher: ModelShape | None) -> ModelShape:
        """Return the teacher's sizes.

        Raises:
            UserError: If there is no teacher.
        """
        if teacher is None:
            raise UserError(f"{type(self).__name__} compares with a teacher, but there is none; add one or drop it")
        return teacher

    def _required_layer_map(self, layer_map: LayerMap | None) -> LayerMap:
        """Return the layer map.

        Raises:
            UserError: If there is none.
        """
        if layer_map is None:
            raise UserError(f"{type(self).__name__} compares layers, but there is no layer_map; add one or drop it")
        return layer_map


def recorded(recording: Recording | None) -> Recording:
    """Return the teacher's recording, which the caller owes to a loss that needs a teacher."""
    if recording is None:
        raise TypeError("this loss needs the teacher's recording, but got None")
    return recording


def real_tokens(batch: Batch, mask_padding: bool) -> Tensor:
    """Return (B, S) bool, the tokens that count: the real ones, or all when padding is not masked."""
    mask = batch.attention_mask.bool()
    return mask if mask_padding else torch.ones_like(mask)


def constant_count(count: int, like: Tensor) -> Tensor:
    """Return () int64 on the device of ``like``, without a copy from the host that a GPU would have to wait for."""
    return torch.full((), count, dtype=torch.int64, device=like.device)
