"""Relation distillation: how alike the tokens' queries, keys and values are, whatever the heads and widths."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import torch
from torch import Tensor
from torch.nn import functional as F

from distill.losses.base import DistillationLoss, constant_count, real_tokens, recorded, widen
from distill.losses.blocks import sum_over_blocks
from distill.losses.maps import in_one_precision, masked_products, without_queries
from distill.tasks.base import Task
from distill.types import AttentionInputs, Batch, LayerMap, Mean, ModelShape, Recording, RecordingPlan, UserError

Relation = Literal["query-query", "key-key", "value-value", "query-key"]


def relation_log_probabilities(left: Tensor, right: Tensor, num_relation_heads: int, key_mask: Tensor) -> Tensor:
    """Return (B, A, S, S), the log relations of one layer in float32 or float64.

    ``log softmax_j(x_i . y_j / sqrt(D / A))``, where the vectors of all heads, (B, S, D) together, are cut anew into A
    relation heads of width D / A.

    Args:
        left: x, the layer's queries, keys or values, (B, H, S, d).
        right: y, alike.
        num_relation_heads: A, a divisor of D = H d.
        key_mask: (B, S) bool, the tokens j that are related to.
    """
    left, right = (_relation_heads(vectors, num_relation_heads) for vectors in (left, right))
    return masked_products(left, right, left.shape[-1] ** -0.5, key_mask).log_softmax(-1)


class RelationLoss(DistillationLoss):
    """Divergence of the relations among tokens in one layer of each model, summed over relations.

    ``sum over relations of mean over A relation heads and real tokens i of KL(R_t[a, i] || R_s[a, i])``, with ``R[a, i]
    = softmax over real tokens j of x[a, i] . y[a, j] / sqrt(D / A)`` (MiniLMv2, Wang et al. 2021, arXiv 2012.15828,
    eqs. 5 to 8, all weights 1). x and y are the queries, keys or values of all heads, joined and cut anew into A heads;
    so the models may differ in heads and width, and nothing is projected.

    ``total`` sums over relations, batch, relation heads and tokens; ``count`` is A times the real tokens. A batch
    without real tokens gives 0. ``query-key`` with as many relation heads as attention heads is the attention itself,
    as MiniLM (arXiv 2002.10957) has it, beside ``value-value``.

    Args:
        relations: What is compared.
        num_relation_heads: A; must divide both models' widths. The paper takes 48 for base models, 64 for large ones.
        student_layer: The student's layer, counted from 0; negative counts from the end.
        teacher_layer: The teacher's; the last one for base models, one a fifth before the end for large ones.
        mask_padding: Leave padding out of the mean; False counts padded tokens i as well, though none is related to.

    Raises:
        UserError: If a relation is unknown or named twice, or ``num_relation_heads`` is below 1.
    """

    def __init__(
        self,
        relations: Sequence[Relation] = ("query-query", "key-key", "value-value"),
        num_relation_heads: int = 12,
        student_layer: int = -1,
        teacher_layer: int = -1,
        mask_padding: bool = True,
    ) -> None:
        super().__init__(mask_padding)
        unknown = [relation for relation in relations if relation not in get_args(Relation)]
        if unknown or not relations or len(set(relations)) < len(relations):
            known = ", ".join(get_args(Relation))
            raise UserError(f"RelationLoss relations {list(relations)}: name some of {known}, each once")
        if num_relation_heads < 1:
            raise UserError(f"RelationLoss num_relation_heads must be at least 1, not {num_relation_heads}")
        self.relations = tuple(relations)
        self.num_relation_heads = num_relation_heads
        self.student_layer = student_layer
        self.teacher_layer = teacher_layer

    def bind(self, student: ModelShape, teacher: ModelShape | None, layer_map: LayerMap | None, task: Task) -> None:
        """Settle the layers.

        Raises:
            UserError: If there is no teacher, a model lacks the layer, or its width is no multiple of the heads.
        """
        teacher = self._required_teacher(teacher)
        self.student_layer = self._layer(self.student_layer, student, "student")
        self.teacher_layer = self._layer(self.teacher_layer, teacher, "teacher")

    @property
    def student_plan(self) -> RecordingPlan:
        """The student's layer."""
        return self._plan(self.student_layer)

    @property
    def teacher_plan(self) -> RecordingPlan:
        """The teacher's layer."""
        return self._plan(self.teacher_layer)

    def _plan(self, layer: int) -> RecordingPlan:
        layers = frozenset([layer])
        has_values = any("value" in relation for relation in self.relations)
        return RecordingPlan(attentions=layers, logits=False, values=layers if has_values else frozenset())

    def _layer(self, layer: int, shape: ModelShape, role: str) -> int:
        if not -shape.num_layers <= layer < shape.num_layers:
            raise UserError(
                f"RelationLoss {role}_layer is {layer}, but the {role} has layers 0 to {shape.num_layers - 1}"
            )
        if shape.hidden_size % self.num_relation_heads:
            raise UserError(
                f"RelationLoss cuts the {role}'s width {shape.hidden_size} into {self.num_relation_heads} relation "
                f"heads, which do not divide it; set num_relation_heads to a divisor of both widths"
            )
        return layer % shape.num_layers

    def _mean(self, student: Recording, teacher: Recording | None, batch: Batch, temperature: float) -> Mean:
        mine = student.attentions[self.student_layer]
        other = recorded(teacher).attentions[self.teacher_layer]
        keys = batch.attention_mask.bool()
        tokens = real_tokens(batch, self.mask_padding)
        totals = [self._relation_total(relation, mine, other, tokens, keys) for relation in self.relations]
        return Mean(torch.stack(totals).sum(), self.count(batch))

    def _relation_total(
        self, relation: Relation, student: AttentionInputs, teacher: AttentionInputs, tokens: Tensor, keys: Tensor
    ) -> Tensor:
        """Return the sum of one relation's divergences, a few windows at a time."""
        names = list(dict.fromkeys(relation.split("-")))
        trained, fixed = ([getattr(model, name) for name in names] for model in (student, teacher))
        num_heads = self.num_relation_heads

        def total(*parts: Tensor) -> Tensor:
            *vectors, token_mask, key_mask = parts
            vectors = in_one_precision(vectors)
            own, target = (
                relation_log_probabilities(without_queries(each[0], token_mask), each[-1], num_heads, key_mask)
                for each in (vectors[: len(names)], vectors[len(names) :])
            )
            return F.kl_div(own, target, reduction="sum", log_target=True)

        return sum_over_blocks(total, trained, [*fixed, tokens, keys], num_heads * tokens.shape[1] ** 2)

    def count(self, batch: Batch) -> Tensor:
        """Return the relation heads times the real tokens, or all of them."""
        tokens = batch.attention_mask
        return self.num_relation_heads * (tokens.sum() if self.mask_padding else constant_count(tokens.numel(), tokens))


def _relation_heads(vectors: Tensor, num_relation_heads: int) -> Tensor:
    """Return (B, H, S, d) vectors as (B, A, S, H d / A), widened."""
    joined = widen(vectors).transpose(1, 2).flatten(2)
    return joined.view(*joined.shape[:2], num_relation_heads, -1).transpose(1, 2)
