"""Attention distillation: mean squared error between attention maps of mapped layers."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor

from distill.losses.base import DistillationLoss, constant_count, real_tokens, recorded, widen
from distill.tasks.base import Task
from distill.types import AttentionInputs, Batch, LayerMap, Mean, ModelShape, Recording, RecordingPlan, UserError

AttentionTarget = Literal["scores", "probabilities"]


def score_difference(student: AttentionInputs, teacher: AttentionInputs, queries: Tensor, keys: Tensor) -> Tensor:
    """Return ``scaling_s q_s k_s^T - scaling_t q_t k_t^T``, (B, H, S, S), 0 outside the masks, float32 or float64.

    Both products are one, of ``[scaling_s q_s, -scaling_t q_t]`` and ``[k_s, k_t]``, and what is masked is masked
    before it: of all the S x S maps that a difference of two masked scores would go through, one is left.

    Args:
        student: Queries and keys, each (B, H, S, d_s).
        teacher: Queries and keys, each (B, H, S, d_t).
        queries: (B, S) bool, the queries that count.
        keys: (B, S) bool, the keys that may be attended to.
    """
    query = torch.cat((student.scaling * widen(student.query), -teacher.scaling * widen(teacher.query)), -1)
    key = torch.cat((widen(student.key), widen(teacher.key)), -1)
    query = query.masked_fill(~queries[:, None, :, None], 0.0)
    key = key.masked_fill(~keys[:, None, :, None], 0.0)
    return query @ key.transpose(-1, -2)


def probabilities(inputs: AttentionInputs, keys: Tensor) -> Tensor:
    """Return the softmax of one layer's scores over the keys, (B, H, S, S), 0 outside, float32 or float64.

    Args:
        inputs: Queries and keys, each (B, H, S, d).
        keys: (B, S) bool, the keys that may be attended to.
    """
    hidden = ~keys[:, None, None, :]
    scores = inputs.scaling * (widen(inputs.query) @ widen(inputs.key).transpose(-1, -2))
    # The lowest finite number and not -inf: a row without any key would be NaN, and NaN survives the final mask.
    return scores.masked_fill(hidden, torch.finfo(scores.dtype).min).softmax(-1).masked_fill(hidden, 0.0)


def probability_difference(student: AttentionInputs, teacher: AttentionInputs, queries: Tensor, keys: Tensor) -> Tensor:
    """Return the difference of both :func:`probabilities`, (B, H, S, S), 0 at queries that do not count."""
    difference = probabilities(student, keys) - probabilities(teacher, keys)
    return difference.masked_fill(~queries[:, None, :, None], 0.0)


class AttentionLoss(DistillationLoss):
    """Mean squared error of attention maps, summed over mapped layers.

    ``sum over pairs (s, t) of mean over heads, real queries i and real keys j of (A_s[i, j] - A_t[i, j])^2``

    ``total`` sums the squares over pairs, batch, heads and places; ``count`` is heads times real (query, key) places
    of *one* pair, so that pairs are summed and not averaged, as in the papers. A batch without real tokens gives 0.

    ``scores`` compares ``scaling * q k^T`` before the softmax (TinyBERT, arXiv 1909.10351, eq. 7), which that paper
    found to converge faster and further; it is the default also because probabilities of long inputs are so small
    that their squared differences hardly give a gradient. ``probabilities`` compares after the softmax over real
    keys, without dropout (released code of SpanishTinyRoBERTa, arXiv 2312.04193).

    Without ``mask_padding`` the mean runs over all B * H * S * S places, padded queries included; padded keys count
    as equal, because the released codes set them to 0 in both models.

    Args:
        target: What to compare, ``scores`` or ``probabilities``.
        mask_padding: Leave padding out of the mean.

    Raises:
        UserError: If the target is unknown.
    """

    def __init__(self, target: AttentionTarget = "scores", mask_padding: bool = True) -> None:
        super().__init__(mask_padding)
        if target not in get_args(AttentionTarget):
            raise UserError(f"AttentionLoss target {target!r} is unknown; use {' or '.join(get_args(AttentionTarget))}")
        self.target: AttentionTarget = target
        self._pairs: tuple[tuple[int, int], ...] = ()

    def bind(self, student: ModelShape, teacher: ModelShape | None, layer_map: LayerMap | None, task: Task) -> None:
        """Take the pairs of layers from the map.

        Raises:
            UserError: If there is no teacher or no map, or the models have different numbers of heads.
        """
        teacher = self._required_teacher(teacher)
        if student.num_heads != teacher.num_heads:
            raise UserError(
                f"AttentionLoss compares head by head, but the student has {student.num_heads} heads and the teacher "
                f"{teacher.num_heads}; set the student's num_heads to {teacher.num_heads} or drop the loss"
            )
        self._pairs = self._required_layer_map(layer_map).attention

    @property
    def student_plan(self) -> RecordingPlan:
        """The mapped student layers."""
        return RecordingPlan(attentions=frozenset(student for student, _ in self._pairs), logits=False)

    @property
    def teacher_plan(self) -> RecordingPlan:
        """The mapped teacher layers."""
        return RecordingPlan(attentions=frozenset(teacher for _, teacher in self._pairs), logits=False)

    def _mean(self, student: Recording, teacher: Recording | None, batch: Batch, temperature: float) -> Mean:
        teacher = recorded(teacher)
        keys = batch.attention_mask.bool()
        queries = real_tokens(batch, self.mask_padding)
        totals = [self._pair_total(student.attentions[s], teacher.attentions[t], queries, keys) for s, t in self._pairs]
        num_heads = student.attentions[self._pairs[0][0]].query.shape[1]
        if self.mask_padding:
            count = num_heads * keys.sum(-1).square().sum()
        else:
            count = constant_count(num_heads * keys.numel() * keys.shape[-1], keys)
        return Mean(torch.stack(totals).sum(), count)

    def _pair_total(self, student: AttentionInputs, teacher: AttentionInputs, queries: Tensor, keys: Tensor) -> Tensor:
        compare = score_difference if self.target == "scores" else probability_difference
        target = AttentionInputs(teacher.query.detach(), teacher.key.detach(), teacher.value, teacher.scaling)
        difference = compare(student, target, queries, keys).flatten()
        return difference.dot(difference)
