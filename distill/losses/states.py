"""What losses on hidden states share: projections to the teacher's width and a distance for each token."""

from __future__ import annotations

from abc import abstractmethod
from typing import Literal, cast, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from distill.losses.base import DistillationLoss, constant_count, real_tokens, recorded, widen
from distill.tasks.base import Task
from distill.types import Batch, LayerMap, Mean, ModelShape, Recording, RecordingPlan, UserError

Projection = Literal["per_layer", "shared", "none"]


def token_distances(student: Tensor, teacher: Tensor, normalise: bool) -> Tensor:
    """Return (B, S), the squared distance of each token's (B, S, D) states.

    ``|s - t|^2 / D``, or ``|s / |s| - t / |t||^2`` when normalising, which is ``2 - 2 cos(s, t)`` and runs from 0 to 4.
    """
    if normalise:
        return (F.normalize(student, dim=-1) - F.normalize(teacher, dim=-1)).square().sum(-1)
    return (student - teacher).square().mean(-1)


class StateLoss(DistillationLoss):
    """Squared distance between pairs of hidden states, averaged over tokens and summed over pairs.

    Args:
        projection: How student states reach the teacher's width, see the subclasses.
        normalise: Compare directions alone.
        mask_padding: Leave padding out of the mean.
    """

    def __init__(self, projection: Projection, normalise: bool, mask_padding: bool) -> None:
        super().__init__(mask_padding)
        if projection not in get_args(Projection):
            known = ", ".join(get_args(Projection))
            raise UserError(f"{type(self).__name__} projection {projection!r} is unknown; use one of {known}")
        self.projection: Projection = projection
        self.normalise = normalise
        self._pairs: tuple[tuple[int, int], ...] = ()
        self.projections = nn.ModuleList()

    @abstractmethod
    def _state_pairs(self, layer_map: LayerMap | None) -> tuple[tuple[int, int], ...]:
        """Return the pairs (student state, teacher state) to compare."""

    def bind(self, student: ModelShape, teacher: ModelShape | None, layer_map: LayerMap | None, task: Task) -> None:
        """Settle the pairs of states and create the projections.

        Raises:
            UserError: If there is no teacher or no map, or widths differ and nothing may project.
        """
        teacher = self._required_teacher(teacher)
        self._pairs = self._state_pairs(layer_map)
        widths_differ = student.hidden_size != teacher.hidden_size
        if self.projection == "none" and widths_differ:
            raise UserError(
                f"{type(self).__name__} has projection none, but the student is {student.hidden_size} wide and the "
                f"teacher {teacher.hidden_size}; use projection per_layer or shared, or equal widths"
            )
        num_projections = {"per_layer": len(self._pairs) if widths_differ else 0, "shared": 1, "none": 0}
        self.projections = nn.ModuleList(
            nn.Linear(student.hidden_size, teacher.hidden_size) for _ in range(num_projections[self.projection])
        )

    @property
    def student_plan(self) -> RecordingPlan:
        """The student states of the pairs."""
        return RecordingPlan(hidden_states=frozenset(student for student, _ in self._pairs), logits=False)

    @property
    def teacher_plan(self) -> RecordingPlan:
        """The teacher states of the pairs."""
        return RecordingPlan(hidden_states=frozenset(teacher for _, teacher in self._pairs), logits=False)

    def _mean(self, student: Recording, teacher: Recording | None, batch: Batch, temperature: float) -> Mean:
        teacher = recorded(teacher)
        tokens = real_tokens(batch, self.mask_padding)
        totals = []
        for pair_index, (student_state, teacher_state) in enumerate(self._pairs):
            projected = self._project(pair_index, widen(student.hidden_states[student_state]))
            target = widen(teacher.hidden_states[teacher_state].detach())
            totals.append(token_distances(projected, target, self.normalise).masked_fill(~tokens, 0.0).sum())
        return Mean(torch.stack(totals).sum(), self.count(batch))

    def count(self, batch: Batch) -> Tensor:
        """Return the number of real tokens, or of all of them."""
        tokens = batch.attention_mask
        return tokens.sum() if self.mask_padding else constant_count(tokens.numel(), tokens)

    def _project(self, pair_index: int, state: Tensor) -> Tensor:
        if not self.projections:
            return state
        linear = cast(nn.Linear, self.projections[0 if self.projection == "shared" else pair_index])
        # Weights follow the state's precision: under a low-precision strategy they are narrower than the reduction.
        return F.linear(state, linear.weight.to(state.dtype), linear.bias.to(state.dtype))
