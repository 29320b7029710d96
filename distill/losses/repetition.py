"""Attention to repeated tokens: the one thing that a model from random weights is slowest to find out."""

from __future__ import annotations

import torch
from torch import Tensor

from distill.losses.base import DistillationLoss, widen
from distill.tasks.base import MASKED_LOGIT, Task
from distill.types import Batch, LayerMap, Mean, ModelShape, Recording, RecordingPlan, UserError


class RepetitionLoss(DistillationLoss):
    """How far some heads are from attending to the other places where their token stands.

    With ``A`` a head's attention and ``R_i`` the other real places that hold the same token as place i:
    mean over heads and over real places i with a non-empty ``R_i`` of ``-log sum over j in R_i of A_ij``. It is 0 when
    all attention rests on repetitions.

    To answer a question about a name that training never held, a model must find the question's tokens again in the
    context. Trained from random weights on answers alone it does so late; told directly, within a few hundred steps.
    The idea is that of the exact-match feature of Chen et al. (2017), "Reading Wikipedia to Answer Open-Domain
    Questions" (https://arxiv.org/abs/1704.00051), section 3.2, given as a target of attention and not as an input.
    No teacher is needed.

    Args:
        layer: The layer, counted from 0, whose heads are taught.
        num_heads: How many of its heads, the first ones; the others stay free.

    Raises:
        UserError: If a number is out of range for the model.
    """

    needs_teacher = False

    def __init__(self, layer: int = 1, num_heads: int = 2) -> None:
        super().__init__()
        if layer < 0 or num_heads < 1:
            raise UserError(f"RepetitionLoss: layer must be 0 or more, num_heads 1 or more: got {layer}, {num_heads}")
        self.layer = layer
        self.num_heads = num_heads

    def bind(self, student: ModelShape, teacher: ModelShape | None, layer_map: LayerMap | None, task: Task) -> None:
        """Check that the student has the layer and the heads."""
        if self.layer >= student.num_layers or self.num_heads > student.num_heads:
            raise UserError(
                f"RepetitionLoss teaches {self.num_heads} heads of layer {self.layer}, but the student has "
                f"{student.num_layers} layers of {student.num_heads} heads; choose among them (layers count from 0)"
            )

    @property
    def student_plan(self) -> RecordingPlan:
        """The layer's queries and keys."""
        return RecordingPlan(attentions=frozenset([self.layer]), logits=False)

    @property
    def teacher_plan(self) -> RecordingPlan:
        """Nothing."""
        return RecordingPlan(logits=False)

    def _mean(self, student: Recording, teacher: Recording | None, batch: Batch, temperature: float) -> Mean:
        attention = student.attentions[self.layer]
        query, key = (widen(tensor[:, : self.num_heads]) for tensor in (attention.query, attention.key))
        real = batch.attention_mask.bool()
        scores = (attention.scaling * query @ key.transpose(-1, -2)).masked_fill(~real[:, None, None, :], MASKED_LOGIT)
        repeated = _repetitions(batch.inputs["input_ids"], real)
        on_repetitions = torch.logsumexp(scores.masked_fill(~repeated[:, None], MASKED_LOGIT), dim=-1)
        distances = torch.logsumexp(scores, dim=-1) - on_repetitions
        counted = repeated.any(dim=-1)
        return Mean(distances.masked_fill(~counted[:, None], 0.0).sum(), self.num_heads * counted.sum())

    def count(self, batch: Batch) -> Tensor:
        """Return the heads times the real places whose token stands elsewhere too."""
        repeated = _repetitions(batch.inputs["input_ids"], batch.attention_mask.bool())
        return self.num_heads * repeated.any(dim=-1).sum()


def _repetitions(input_ids: Tensor, real: Tensor) -> Tensor:
    """Return (B, S, S) bool, whether places i and j are different real places with the same token."""
    same = input_ids[:, :, None] == input_ids[:, None, :]
    elsewhere = ~torch.eye(input_ids.shape[1], dtype=torch.bool, device=input_ids.device)
    return same & elsewhere & real[:, :, None] & real[:, None, :]
