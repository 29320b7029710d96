"""Attention maps against loops over windows, heads, queries and keys."""

from __future__ import annotations

import math
import weakref
from typing import Literal

import numpy as np
import pytest
import torch

from distill.losses import AttentionLoss
from distill.losses.attention import num_attention_maps, score_total
from distill.tasks.base import Task
from distill.types import AttentionInputs, Batch, LayerMap, ModelShape, Recording, UserError

from .conftest import STUDENT, TEACHER, Scene, random_recording

Target = Literal["scores", "probabilities"]
ONE_LAYER = LayerMap(attention=((0, 0),), hidden=((1, 1),))


def _naive_map(inputs: AttentionInputs, window: int, head: int, num_keys: int, target: Target) -> np.ndarray:
    """Every query against the first ``num_keys`` keys, one number at a time."""
    query = inputs.query[window, head].detach().numpy()
    key = inputs.key[window, head].detach().numpy()
    scores = np.array([[inputs.scaling * sum(q * k) for k in key[:num_keys]] for q in query])
    if target == "scores":
        return scores
    return np.array([np.exp(row) / np.exp(row).sum() for row in scores])


@pytest.mark.parametrize("target", ["scores", "probabilities"])
@pytest.mark.parametrize("mask_padding", [True, False])
def test_equals_loops(target: Target, mask_padding: bool, scene: Scene, layer_map: LayerMap, task: Task) -> None:
    lengths = scene.batch.attention_mask.sum(1).tolist()
    size = scene.batch.attention_mask.shape[1]
    total, places = 0.0, 0
    for window, length in enumerate(lengths):
        num_queries = length if mask_padding else size
        for head in range(2):
            places += length * length if mask_padding else size * size
            for student_layer, teacher_layer in ((0, 1), (1, 3)):
                student = _naive_map(scene.student.attentions[student_layer], window, head, length, target)
                teacher = _naive_map(scene.teacher.attentions[teacher_layer], window, head, length, target)
                total += ((student - teacher)[:num_queries] ** 2).sum()

    loss = AttentionLoss(target, mask_padding)
    loss.bind(STUDENT, TEACHER, layer_map, task)
    mean = loss(scene.student, scene.teacher, scene.batch, 1.0)
    assert mean.total.item() == pytest.approx(total, rel=1e-9)
    assert mean.count.item() == places


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        # Scores 0.5 * q k: student [[0, 1], [0, 2]], teacher all 0.
        ("scores", (0 + 1 + 0 + 4) / 4),
        # Softmax rows (1, e) / (1 + e) and (1, e^2) / (1 + e^2) against (1/2, 1/2): both places differ equally.
        ("probabilities", ((math.e / (1 + math.e) - 0.5) ** 2 + (math.e**2 / (1 + math.e**2) - 0.5) ** 2) / 2),
    ],
)
def test_by_hand(target: Target, expected: float, task: Task) -> None:
    query = torch.tensor([[[[1.0], [2.0]]]])
    key = torch.tensor([[[[0.0], [2.0]]]])
    student = Recording(attentions={0: AttentionInputs(query, key, key, 0.5)})
    teacher = Recording(attentions={0: AttentionInputs(query, torch.zeros_like(key), key, 0.5)})
    batch = Batch({"attention_mask": torch.ones(1, 2, dtype=torch.long)}, {}, torch.zeros(1))
    loss = AttentionLoss(target)
    loss.bind(ModelShape(1, 1, 1), ModelShape(1, 1, 1), ONE_LAYER, task)
    assert loss(student, teacher, batch, 1.0).value.item() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("target", ["scores", "probabilities"])
def test_identical_maps_are_zero(target: Target, scene: Scene, task: Task) -> None:
    loss = AttentionLoss(target)
    identity = LayerMap(attention=((0, 0), (1, 1)), hidden=())
    loss.bind(STUDENT, STUDENT, identity, task)
    # Rounding alone is left of the products that cancel.
    assert loss(scene.student, scene.student, scene.batch, 1.0).total.item() == pytest.approx(0, abs=1e-20)


def test_plans_name_the_mapped_layers_alone(layer_map: LayerMap, task: Task) -> None:
    loss = AttentionLoss()
    loss.bind(STUDENT, TEACHER, layer_map, task)
    assert loss.student_plan.attentions == {0, 1}
    assert loss.teacher_plan.attentions == {1, 3}
    assert not loss.student_plan.logits
    assert not loss.teacher_plan.hidden_states


def test_different_heads_are_an_error(layer_map: LayerMap, task: Task) -> None:
    with pytest.raises(UserError, match=r"student has 2 heads and the teacher 3; set the student's num_heads to 3"):
        AttentionLoss().bind(STUDENT, ModelShape(4, 12, 3), layer_map, task)


def test_unknown_target_is_an_error() -> None:
    with pytest.raises(UserError, match="'maps' is unknown; use scores or probabilities"):
        AttentionLoss("maps")


def test_unknown_matching_of_heads_is_an_error() -> None:
    with pytest.raises(UserError, match="'some' is unknown; use equal, grouped, mean"):
        AttentionLoss(heads="some")


@pytest.mark.parametrize(
    ("heads", "num_student", "num_teacher", "num_maps"),
    [
        *(("equal", 4, 4, 4), ("mean", 4, 4, 1), ("mean", 2, 6, 1), ("grouped", 2, 6, 2), ("grouped", 12, 16, 4)),
        *(("grouped", 6, 2, 2), ("grouped", 3, 4, 1), ("grouped", 4, 4, 4)),
    ],
)
def test_number_of_maps(heads: str, num_student: int, num_teacher: int, num_maps: int) -> None:
    assert num_attention_maps(heads, num_student, num_teacher) == num_maps


@pytest.mark.parametrize("target", ["scores", "probabilities"])
@pytest.mark.parametrize("mask_padding", [True, False])
@pytest.mark.parametrize(
    ("heads", "num_teacher", "groups"),
    [
        ("grouped", 6, [([0], [0, 1, 2]), ([1], [3, 4, 5])]),
        ("grouped", 3, [([0, 1], [0, 1, 2])]),
        ("mean", 6, [([0, 1], [0, 1, 2, 3, 4, 5])]),
    ],
)
def test_unequal_heads_are_averaged(
    target: Target, mask_padding: bool, heads: str, num_teacher: int, groups: list, scene: Scene, task: Task
) -> None:
    shape = ModelShape(4, 12, num_teacher)
    teacher = random_recording(shape, 3, 5, torch.Generator().manual_seed(4))
    total, places = 0.0, 0
    for window, length in enumerate(scene.batch.attention_mask.sum(1).tolist()):
        num_queries = length if mask_padding else 5
        for own, other in groups:
            places += length * length if mask_padding else 25
            student = np.mean([_naive_map(scene.student.attentions[0], window, h, length, target) for h in own], 0)
            mean = np.mean([_naive_map(teacher.attentions[2], window, h, length, target) for h in other], 0)
            total += ((student - mean)[:num_queries] ** 2).sum()
    loss = AttentionLoss(target, mask_padding, heads)
    loss.bind(STUDENT, shape, LayerMap(attention=((0, 2),), hidden=()), task)
    value = loss(scene.student, teacher, scene.batch, 1.0)
    assert value.total.item() == pytest.approx(total, rel=1e-9)
    assert value.count.item() == places


def _inputs(length: int, width: int, seed: int, dtype: torch.dtype = torch.float64) -> AttentionInputs:
    generator = torch.Generator().manual_seed(seed)
    query, key, value = (torch.randn(2, 2, length, width, generator=generator, dtype=dtype) for _ in range(3))
    return AttentionInputs(query.requires_grad_(), key.requires_grad_(), value, width**-0.5)


def _exact_total(student: AttentionInputs, teacher: AttentionInputs, masks: list) -> tuple[torch.Tensor, list]:
    """Return the total by its definition in float64, and the gradients of the student's queries and keys."""
    wide = [AttentionInputs(*(t.detach().double() for t in x[:3]), x.scaling) for x in (student, teacher)]
    trained = [tensor.requires_grad_() for tensor in wide[0][:2]]
    maps = [scaling * query @ key.mT for query, key, _, scaling in wide]
    total = ((maps[0] - maps[1]) * masks[0][:, None, :, None] * masks[1][:, None, None, :]).square().sum()
    total.backward()
    return total.detach(), [tensor.grad for tensor in trained]


@pytest.mark.parametrize("length", [16, 64])  # widths of 4 and 4: 16 tokens go through maps, 64 do not
@pytest.mark.parametrize("distance", [1.0, 1e-2, 1e-4])
def test_scores_of_models_that_are_nearly_equal_are_as_exact(length, distance):
    generator = torch.Generator().manual_seed(0)
    # A bias that all tokens share, as pretrained models have, makes the scores large and alike.
    query, key = (6 * torch.randn(1, 2, 1, 4, generator=generator) + torch.randn(2, 2, length, 4) for _ in range(2))
    teacher = AttentionInputs(query, key, key, 0.5)
    near = [(t + distance * torch.randn(t.shape, generator=generator)).requires_grad_() for t in (query, key)]
    student = AttentionInputs(*near, key, 0.5)
    masks = [torch.arange(length) < torch.tensor([[length], [length - n]]) for n in (3, 7)]
    total = score_total(student, teacher, *masks)
    total.backward()
    expected, gradients = _exact_total(student, teacher, masks)
    torch.testing.assert_close(total.detach().double(), expected, rtol=1e-5, atol=0)
    for tensor, gradient in zip(near, gradients, strict=True):
        assert (tensor.grad.double() - gradient).norm() <= 2e-6 * gradient.norm()


class _Kept:
    """A tensor that waits for a backward pass."""

    def __init__(self, tensor: torch.Tensor) -> None:
        self.tensor = tensor


def test_no_map_of_a_score_waits_for_the_backward_pass():
    student, teacher = _inputs(20, 4, seed=0), _inputs(20, 4, seed=1)
    masks = [torch.ones(2, 20, dtype=torch.bool)] * 2
    waiting: weakref.WeakSet[_Kept] = weakref.WeakSet()

    def keep(tensor: torch.Tensor) -> _Kept:
        kept = _Kept(tensor)
        waiting.add(kept)
        return kept

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda kept: kept.tensor):
        total = score_total(student, teacher, *masks)
        sizes = [kept.tensor.numel() for kept in waiting]
        total.backward()
    assert sizes
    assert max(sizes) <= student.query.numel() < 2 * 2 * 20 * 20


@pytest.mark.parametrize(
    ("length", "dtype", "tolerance"),
    [(12, torch.float64, 1e-12), (64, torch.float64, 1e-12), (64, torch.float32, 1e-5)],
)
def test_score_total_and_its_gradients_are_those_of_the_maps_at_any_length(length, dtype, tolerance):
    # Widths of 4 and 6: 12 tokens go through maps, 64 do not.
    student, teacher = _inputs(length, 4, seed=0, dtype=dtype), _inputs(length, 6, seed=1, dtype=dtype)
    masks = [torch.arange(length) < torch.tensor([[length], [length - n]]) for n in (3, 7)]
    total = score_total(student, teacher, *masks)
    total.backward()
    gradients = [tensor.grad for tensor in student[:2]]
    expected, exact = _exact_total(student, teacher, masks)
    torch.testing.assert_close(total.double(), expected, rtol=tolerance, atol=0)
    for got, gradient in zip(gradients, exact, strict=True):
        torch.testing.assert_close(got.double(), gradient, rtol=0, atol=tolerance * float(gradient.abs().max()))
