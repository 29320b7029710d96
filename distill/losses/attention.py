"""Attention distillation: mean squared error between attention maps of mapped layers."""

from __future__ import annotations

import math
from typing import Literal, get_args

import torch
from torch import Tensor

from distill.losses.base import DistillationLoss, constant_count, real_tokens, recorded
from distill.losses.blocks import sum_over_blocks
from distill.losses.maps import in_one_precision, masked_products, without_queries
from distill.tasks.base import Task
from distill.types import AttentionInputs, Batch, LayerMap, Mean, ModelShape, Recording, RecordingPlan, UserError

AttentionTarget = Literal["scores", "probabilities"]
HeadMatching = Literal["equal", "grouped", "mean"]

#: How many times the heads' widths together a window has to be long, for products of width x width to be the faster
#: ones: three times as fast at 384 tokens and widths of 32 + 64, equal at 128 tokens and 16 + 32 (float32, AVX2).
_WIDTHS_OF_LONG_WINDOWS = 3


def num_attention_maps(heads: HeadMatching, num_student: int, num_teacher: int) -> int:
    """Return how many maps the heads of each model are averaged to, so that there are equally many to compare.

    - ``equal``: one for each head; both models must have the same number.
    - ``grouped``: the greatest common divisor of both numbers; map g is the mean of a model's g-th run of neighbouring
      heads. Where one number divides the other this is the smaller one, so one model keeps each of its heads; where
      they have no common divisor it is 1.
    - ``mean``: 1, the mean of all heads.

    Raises:
        UserError: If the numbers have to be equal and are not.
    """
    if heads == "grouped":
        return math.gcd(num_student, num_teacher)
    if heads == "mean":
        return 1
    if num_student != num_teacher:
        raise UserError(
            f"AttentionLoss compares head by head, but the student has {num_student} heads and the teacher "
            f"{num_teacher}; set the student's num_heads to {num_teacher}, or the loss's heads to grouped or mean, or "
            "drop the loss"
        )
    return num_student


def join_heads(inputs: AttentionInputs, num_maps: int) -> AttentionInputs:
    """Return inputs of ``num_maps`` wider heads, whose scores are the means of neighbouring heads' scores.

    ``1 / n * sum over n heads of scaling q_h k_h^T`` is one product of the heads laid side by side, so no map of a
    single head is made.

    Args:
        inputs: (B, H, S, d); H a multiple of ``num_maps``.
        num_maps: Heads of the result, each ``d * H / num_maps`` wide.
    """
    num_heads = inputs.query.shape[1]
    if num_heads == num_maps:
        return inputs

    def join(tensor: Tensor) -> Tensor:
        num_rows, _, length, width = tensor.shape
        return tensor.view(num_rows, num_maps, -1, length, width).transpose(2, 3).flatten(3)

    return AttentionInputs(join(inputs.query), join(inputs.key), None, inputs.scaling * num_maps / num_heads)


def score_total(student: AttentionInputs, teacher: AttentionInputs, queries: Tensor, keys: Tensor) -> Tensor:
    """Return the sum of ``(scaling_s q_s k_s^T - scaling_t q_t k_t^T)^2`` within the masks, (), float32 or float64.

    The difference is one product ``A B^T`` (:func:`difference_factors`), and its squares sum to ``<A^T A, B^T B>``. So
    windows much longer than heads are wide need no S x S map at all; for others maps are made a few windows at a time,
    see :func:`~distill.losses.blocks.sum_over_blocks`.

    Args:
        student: Queries and keys, each (B, H, S, d_s).
        teacher: Queries and keys, each (B, H, S, d_t).
        queries: (B, S) bool, the queries that count.
        keys: (B, S) bool, the keys that may be attended to.
    """

    def factors(*parts: Tensor) -> tuple[Tensor, Tensor]:
        *vectors, query_mask, key_mask = parts
        query, key, teacher_query, teacher_key = in_one_precision(vectors)
        left, right = difference_factors(student.scaling * query, key, teacher.scaling * teacher_query, teacher_key)
        return without_queries(left, query_mask), without_queries(right, key_mask)

    def total_of_maps(*parts: Tensor) -> Tensor:
        left, right = factors(*parts)
        return _sum_of_squares(left @ right.mT)

    trained, others = (student.query, student.key), (teacher.query, teacher.key, queries, keys)
    num_heads, length, width = student.query.shape[1:]
    if length <= _WIDTHS_OF_LONG_WINDOWS * (width + teacher.query.shape[-1]):
        return sum_over_blocks(total_of_maps, trained, others, num_heads * length**2)
    left, right = factors(*trained, *others)
    return ((left.mT @ left) * (right.mT @ right)).sum()


def difference_factors(query: Tensor, key: Tensor, other_query: Tensor, other_key: Tensor) -> tuple[Tensor, Tensor]:
    """Return A and B, each (B, H, S, d + d'), with ``A B^T = query key^T - other_query other_key^T``.

    For equal widths ``A = [q - q', q']`` and ``B = [k, k - k']``, so that what is alike in both cancels before it is
    squared: values and gradients of models that are nearly equal, such as a student with its teacher's layers, are as
    exact as others. For different widths ``A = [q, -q']`` and ``B = [k, k']``, of which the sum of squares is a
    difference of large numbers, exact to about ``1e-7 |scores|^2`` in float32.

    Args:
        query: (B, H, S, d), scaled.
        key: (B, H, S, d).
        other_query: (B, H, S, d'), scaled.
        other_key: (B, H, S, d').
    """
    if query.shape[-1] == other_query.shape[-1]:
        return torch.cat((query - other_query, other_query), -1), torch.cat((key, key - other_key), -1)
    return torch.cat((query, -other_query), -1), torch.cat((key, other_key), -1)


def probabilities(inputs: AttentionInputs, keys: Tensor, num_maps: int) -> Tensor:
    """Return the softmax of one layer's scores over the keys, (B, G, S, S), 0 outside, float32 or float64.

    Rows of a window without any key are uniform.

    Args:
        inputs: Queries and keys, each (B, H, S, d).
        keys: (B, S) bool, the keys that may be attended to.
        num_maps: G; the probabilities of each run of H / G neighbouring heads are averaged.
    """
    each = masked_products(inputs.query, inputs.key, inputs.scaling, keys).softmax(-1)
    return each if each.shape[1] == num_maps else each.view(len(each), num_maps, -1, *each.shape[2:]).mean(2)


def probability_total(
    student: AttentionInputs, teacher: AttentionInputs, queries: Tensor, keys: Tensor, num_maps: int
) -> Tensor:
    """Return the sum of squared differences of both :func:`probabilities` at the queries that count, ().

    Computed a few windows at a time, see :func:`~distill.losses.blocks.sum_over_blocks`.
    """

    def total(*parts: Tensor) -> Tensor:
        *vectors, query_mask, key_mask = parts
        query, key, teacher_query, teacher_key = in_one_precision(vectors)
        own = AttentionInputs(without_queries(query, query_mask), key, None, student.scaling)
        target = AttentionInputs(without_queries(teacher_query, query_mask), teacher_key, None, teacher.scaling)
        return _sum_of_squares(probabilities(own, key_mask, num_maps) - probabilities(target, key_mask, num_maps))

    num_heads, length = student.query.shape[1:3]
    others = (teacher.query, teacher.key, queries, keys)
    return sum_over_blocks(total, (student.query, student.key), others, num_heads * length**2)


def _sum_of_squares(tensor: Tensor) -> Tensor:
    return tensor.flatten().dot(tensor.flatten())


class AttentionLoss(DistillationLoss):
    """Mean squared error of attention maps, summed over mapped layers.

    ``sum over pairs (s, t) of mean over heads, real queries i and real keys j of (A_s[i, j] - A_t[i, j])^2``

    ``total`` sums the squares over pairs, batch, heads and places; ``count`` is heads times real (query, key) places
    of *one* pair, so that pairs are summed and not averaged, as in the papers. A batch without real tokens gives 0.

    ``scores`` compares ``scaling * q k^T`` before the softmax (TinyBERT, arXiv 1909.10351, eq. 7), which that paper
    found to converge faster and further; it is the default also because probabilities of long inputs are so small
    that their squared differences hardly give a gradient. ``probabilities`` compares after the softmax over real
    keys, without dropout (released code of SpanishTinyRoBERTa, arXiv 2312.04193).

    Where the models have different numbers of heads, ``heads`` says how each model's maps are averaged to equally many
    (:func:`num_attention_maps`); "heads" above then means these averages. A narrower student that inherits has its
    heads from the groups that teach them.

    Without ``mask_padding`` the mean runs over all B * H * S * S places, padded queries included; padded keys count
    as equal, because the released codes set them to 0 in both models.

    Args:
        target: What to compare, ``scores`` or ``probabilities``.
        mask_padding: Leave padding out of the mean.
        heads: How heads are matched: ``equal`` one by one, ``grouped`` as means of neighbouring heads, ``mean`` as the
            mean of all.

    Raises:
        UserError: If an option is unknown.
    """

    def __init__(
        self, target: AttentionTarget = "scores", mask_padding: bool = True, heads: HeadMatching = "equal"
    ) -> None:
        super().__init__(mask_padding)
        if target not in get_args(AttentionTarget):
            raise UserError(f"AttentionLoss target {target!r} is unknown; use {' or '.join(get_args(AttentionTarget))}")
        if heads not in get_args(HeadMatching):
            raise UserError(f"AttentionLoss heads {heads!r} is unknown; use {', '.join(get_args(HeadMatching))}")
        self.target: AttentionTarget = target
        self.heads: HeadMatching = heads
        #: How many maps of each layer are compared, see :func:`num_attention_maps`; known once the models are.
        self.num_maps = 0
        self._pairs: tuple[tuple[int, int], ...] = ()

    def bind(self, student: ModelShape, teacher: ModelShape | None, layer_map: LayerMap | None, task: Task) -> None:
        """Take the pairs of layers from the map.

        Raises:
            UserError: If there is no teacher or no map, or the models' heads cannot be matched.
        """
        teacher = self._required_teacher(teacher)
        self.num_maps = num_attention_maps(self.heads, student.num_heads, teacher.num_heads)
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
        return Mean(torch.stack(totals).sum(), self.count(batch))

    def count(self, batch: Batch) -> Tensor:
        """Return the number of places of one pair's maps, real ones or all."""
        keys = batch.attention_mask
        if self.mask_padding:
            return self.num_maps * keys.sum(-1).square().sum()
        return constant_count(self.num_maps * keys.numel() * keys.shape[-1], keys)

    def _pair_total(self, student: AttentionInputs, teacher: AttentionInputs, queries: Tensor, keys: Tensor) -> Tensor:
        target = AttentionInputs(teacher.query.detach(), teacher.key.detach(), None, teacher.scaling)
        if self.target == "scores":
            student, target = join_heads(student, self.num_maps), join_heads(target, self.num_maps)
            return score_total(student, target, queries, keys)
        return probability_total(student, target, queries, keys, self.num_maps)
