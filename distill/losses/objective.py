"""The training objective: a weighted sum of named losses."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from distill.losses.base import DistillationLoss
from distill.tasks.base import Task
from distill.types import Batch, LayerMap, Mean, ModelShape, Recording, RecordingPlan, UserError


def check_weights(names: Collection[str], weights: Mapping[str, float]) -> None:
    """Check that weights fit the named terms and leave something to train; needs no model.

    Raises:
        UserError: If a weight names no term, is negative or not finite, or all are 0.
    """
    for name, weight in weights.items():
        if name not in names:
            raise UserError(f"loss weight {name!r} names no loss; the losses are {', '.join(sorted(names))}")
        if not (math.isfinite(weight) and weight >= 0):
            raise UserError(f"loss weight {name!r} is {weight}; it must be a finite number from 0")
    if not any(weights.values()):
        raise UserError(f"no loss has a weight above 0; weigh at least one of {', '.join(sorted(names))}")


@dataclass(frozen=True)
class ObjectiveValue:
    """The objective of one batch.

    Attributes:
        total: (), ``sum over terms of weight * mean``, to be minimised.
        means: Each active term's unweighted, undivided mean; totals still carry gradients.
    """

    total: Tensor
    means: dict[str, Mean]

    @property
    def terms(self) -> dict[str, Tensor]:
        """Each active term's unweighted mean, () each; detach before keeping."""
        return {name: mean.value for name, mean in self.means.items()}


class Objective(nn.Module):
    """Named losses, of which a stage weighs some.

    Args:
        terms: Name to loss.

    Raises:
        UserError: If there are no terms, or a name cannot be used.
    """

    def __init__(self, terms: Mapping[str, DistillationLoss]) -> None:
        super().__init__()
        if not terms:
            raise UserError("there is no loss to train on; name at least one")
        self._plans: dict[tuple[tuple[str, float], ...], tuple[RecordingPlan, RecordingPlan | None]] = {}
        self.terms = nn.ModuleDict()
        for name, loss in terms.items():
            try:
                self.terms[name] = loss
            except KeyError as error:
                raise UserError(f"{name!r} cannot be the name of a loss ({error.args[0]}); choose another") from error

    @property
    def needs_teacher(self) -> bool:
        """Whether any term compares with a teacher."""
        return any(loss.needs_teacher for loss in self._losses().values())

    def bind(self, student: ModelShape, teacher: ModelShape | None, layer_map: LayerMap | None, task: Task) -> None:
        """Bind every term to the models; call once, before the optimizer is built.

        Raises:
            UserError: If a term cannot compare these models.
        """
        self._plans = {}
        for loss in self._losses().values():
            loss.bind(student, teacher, layer_map, task)

    def plans(self, weights: Mapping[str, float]) -> tuple[RecordingPlan, RecordingPlan | None]:
        """Return what to record of student and teacher for the terms with a weight above 0; worked out once a stage.

        Returns:
            The student's plan, and the teacher's or None when no active term needs a teacher.

        Raises:
            UserError: If a weight names no term, see :func:`check_weights`.
        """
        stage = tuple(weights.items())
        if stage not in self._plans:
            student_plan = RecordingPlan(logits=False)
            teacher_plan: RecordingPlan | None = None
            for loss in self._active(weights).values():
                student_plan |= loss.student_plan
                if loss.needs_teacher:
                    teacher_plan = (teacher_plan or RecordingPlan(logits=False)) | loss.teacher_plan
            self._plans[stage] = student_plan, teacher_plan
        return self._plans[stage]

    def forward(
        self,
        student: Recording,
        teacher: Recording | None,
        batch: Batch,
        weights: Mapping[str, float],
        temperature: float = 1.0,
    ) -> ObjectiveValue:
        """Compute the weighted sum of the terms with a weight above 0; other terms are not computed at all.

        Raises:
            UserError: If a weight names no term, see :func:`check_weights`.
        """
        means = {name: loss(student, teacher, batch, temperature) for name, loss in self._active(weights).items()}
        total = torch.stack([weights[name] * mean.value for name, mean in means.items()]).sum()
        return ObjectiveValue(total, means)

    def counts(self, batch: Batch, weights: Mapping[str, float]) -> dict[str, Tensor]:
        """Return the count of each active term's mean over a batch, () each, before any model has seen it."""
        return {name: loss.count(batch) for name, loss in self._active(weights).items()}

    def _losses(self) -> dict[str, DistillationLoss]:
        return cast(dict[str, DistillationLoss], dict(self.terms.items()))

    def _active(self, weights: Mapping[str, float]) -> dict[str, DistillationLoss]:
        check_weights(self.terms.keys(), weights)
        return {name: loss for name, loss in self._losses().items() if weights.get(name, 0.0) != 0}
