"""Relation distillation against a computation of its own, one token at a time."""

from __future__ import annotations

import math

import pytest
import torch

from distill.losses.attention import probabilities
from distill.losses.relations import RelationLoss, relation_log_probabilities
from distill.types import AttentionInputs, Batch, ModelShape, Recording, UserError

from .conftest import LENGTHS, Scene, random_recording

#: Heads and widths that have nothing in common but the relation heads.
STUDENT = ModelShape(num_layers=3, hidden_size=8, num_heads=2)
TEACHER = ModelShape(num_layers=5, hidden_size=12, num_heads=3)
ALL = ("query-query", "key-key", "value-value", "query-key")


@pytest.fixture
def unequal(scene: Scene) -> Scene:
    generator = torch.Generator().manual_seed(4)
    recordings = (random_recording(shape, len(LENGTHS), max(LENGTHS), generator) for shape in (STUDENT, TEACHER))
    return Scene(*recordings, scene.batch)


def bound(**settings) -> RelationLoss:
    loss = RelationLoss(**{"num_relation_heads": 4, **settings})
    loss.bind(STUDENT, TEACHER, None, None)
    return loss


def joined(vectors: torch.Tensor, window: int, token: int) -> list[float]:
    """Return one token's vector of all heads, one after another."""
    return [number for head in vectors[window, :, token].tolist() for number in head]


def relation(inputs: AttentionInputs, name: str, window: int, token: int, length: int, head: int) -> list[float]:
    """Return the relation of one token to the first ``length`` ones under one of four relation heads."""
    first, second = (getattr(inputs, part) for part in name.split("-"))
    width = len(joined(first, window, token)) // 4
    piece = slice(head * width, (head + 1) * width)
    mine = joined(first, window, token)[piece]
    others = [joined(second, window, other)[piece] for other in range(length)]
    weights = [math.exp(sum(a * b for a, b in zip(mine, other, strict=True)) / math.sqrt(width)) for other in others]
    return [weight / sum(weights) for weight in weights]


@pytest.mark.parametrize("mask_padding", [True, False], ids=["real tokens", "all tokens"])
@pytest.mark.parametrize("names", [ALL[:1], ALL[1:2], ALL[2:3], ALL[3:], ALL[:3]], ids=lambda names: "+".join(names))
def test_value_by_hand_over_unequal_heads_and_widths(names, mask_padding, unequal):
    loss = bound(relations=names, student_layer=1, teacher_layer=3, mask_padding=mask_padding)
    expected, count = 0.0, 0
    for window, length in enumerate(LENGTHS):
        # A padded token may count, but none is related to.
        for token in range(length if mask_padding else max(LENGTHS)):
            for head in range(4):
                count += 1
                for name in names:
                    mine = relation(unequal.student.attentions[1], name, window, token, length, head)
                    other = relation(unequal.teacher.attentions[3], name, window, token, length, head)
                    expected += sum(t * math.log(t / s) for s, t in zip(mine, other, strict=True))
    mean = loss(unequal.student, unequal.teacher, unequal.batch)
    assert mean.total.item() == pytest.approx(expected, rel=1e-9)
    assert mean.count == count == 4 * (sum(LENGTHS) if mask_padding else len(LENGTHS) * max(LENGTHS))
    assert mean.value.item() == pytest.approx(expected / count, rel=1e-9)


def test_equal_relations_cost_nothing(unequal):
    loss = RelationLoss(num_relation_heads=4)
    loss.bind(STUDENT, STUDENT, None, None)
    assert loss(unequal.student, unequal.student, unequal.batch).total.item() == pytest.approx(0.0, abs=1e-12)


def test_rotation_of_all_vectors_of_a_relation_head_changes_nothing(unequal):
    """Relations are made of products of vectors, so which direction is which must not matter."""
    rotation, _ = torch.linalg.qr(torch.randn(2, 2, dtype=torch.float64))
    inputs = unequal.student.attentions[2]
    rotated = AttentionInputs(
        *(tensor.unflatten(-1, (2, 2)).matmul(rotation).flatten(-2) for tensor in inputs[:3]), inputs.scaling
    )
    turned = Recording(None, {}, {2: rotated})
    loss = bound()
    plain = loss(unequal.student, unequal.teacher, unequal.batch).value
    torch.testing.assert_close(loss(turned, unequal.teacher, unequal.batch).value, plain)


def test_query_key_with_the_models_own_heads_is_its_attention(unequal):
    keys = unequal.batch.attention_mask.bool()
    inputs = unequal.teacher.attentions[0]
    relations = relation_log_probabilities(inputs.query, inputs.key, TEACHER.num_heads, keys).exp()
    torch.testing.assert_close(relations, probabilities(inputs, keys, TEACHER.num_heads))


def test_layers_count_from_either_end():
    assert (bound().student_layer, bound().teacher_layer) == (2, 4)
    last_but_one = bound(student_layer=0, teacher_layer=-2)
    assert last_but_one.student_plan.attentions == {0}
    assert last_but_one.teacher_plan.attentions == {3}
    assert not last_but_one.teacher_plan.logits
    assert last_but_one.teacher_plan.values == {3}
    assert not RelationLoss(["query-key", "key-key"], num_relation_heads=2).teacher_plan.values


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"student_layer": 3}, "student_layer is 3, but the student has layers 0 to 2"),
        ({"teacher_layer": -6}, "teacher_layer is -6, but the teacher has layers 0 to 4"),
        ({"num_relation_heads": 8}, "the teacher's width 12 into 8 relation heads"),
        ({"num_relation_heads": 3}, "the student's width 8 into 3 relation heads"),
        ({"num_relation_heads": 0}, "at least 1"),
        ({"relations": ()}, "name some of query-query"),
        ({"relations": ("value-key",)}, "value-key"),
        ({"relations": ("key-key", "key-key")}, "each once"),
    ],
)
def test_what_does_not_fit_is_refused(settings, message):
    with pytest.raises(UserError, match=message):
        bound(**settings)


def test_one_token_relates_to_itself_alone_and_teaches_nothing():
    inputs = AttentionInputs(*(torch.randn(1, 2, 3, 4, dtype=torch.float64) for _ in range(3)), 0.5)
    other = AttentionInputs(*(torch.randn(1, 2, 3, 4, dtype=torch.float64) for _ in range(3)), 0.5)
    loss = RelationLoss(num_relation_heads=4)
    loss.bind(ModelShape(1, 8, 2), ModelShape(1, 8, 2), None, None)
    mask = torch.tensor([[1, 0, 0]])
    batch = Batch({"input_ids": mask, "attention_mask": mask}, {}, torch.zeros(1))
    mean = loss(Recording(None, {}, {0: inputs}), Recording(None, {}, {0: other}), batch)
    assert mean.total == 0
    assert mean.count == 4
