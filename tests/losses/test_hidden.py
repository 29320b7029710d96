"""Hidden-state distances against loops over pairs, windows and tokens."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from distill.losses import HiddenStateLoss
from distill.losses.states import Projection
from distill.tasks.base import Task
from distill.types import LayerMap, ModelShape, UserError

from .conftest import STUDENT, TEACHER, Scene


def _naive(scene: Scene, loss: HiddenStateLoss, pairs: list[tuple[int, int]]) -> tuple[float, int]:
    """The documented formula, one token at a time."""
    linears = [(p.weight.detach().numpy(), p.bias.detach().numpy()) for p in loss.projections]
    total, count = 0.0, 0
    for window, length in enumerate(scene.batch.attention_mask.sum(1).tolist()):
        tokens = range(length if loss.mask_padding else scene.batch.attention_mask.shape[1])
        count += len(tokens)
        for token in tokens:
            for pair_index, (s, t) in enumerate(pairs):
                weight, bias = linears[pair_index % len(linears)]
                student = weight @ scene.student.hidden_states[s][window, token].detach().numpy() + bias
                teacher = scene.teacher.hidden_states[t][window, token].detach().numpy()
                if loss.normalise:
                    cosine = student @ teacher / np.linalg.norm(student) / np.linalg.norm(teacher)
                    total += 2 - 2 * cosine
                else:
                    total += sum((student - teacher) ** 2) / len(teacher)
    return total, count


@pytest.mark.parametrize("projection", ["per_layer", "shared"])
@pytest.mark.parametrize("normalise", [False, True])
@pytest.mark.parametrize("include_embeddings", [False, True])
@pytest.mark.parametrize("mask_padding", [True, False])
def test_equals_loops(
    projection: Projection,
    normalise: bool,
    include_embeddings: bool,
    mask_padding: bool,
    scene: Scene,
    layer_map: LayerMap,
    task: Task,
) -> None:
    loss = HiddenStateLoss(projection, normalise, include_embeddings, mask_padding)
    loss.bind(STUDENT, TEACHER, layer_map, task)
    loss.double()
    pairs = [(0, 0)] * include_embeddings + [(1, 2), (2, 4)]
    total, count = _naive(scene, loss, pairs)
    mean = loss(scene.student, scene.teacher, scene.batch, 1.0)
    assert mean.total.item() == pytest.approx(total, rel=1e-9)
    assert mean.count.item() == count


def test_shared_learns_one_map_with_bias_and_per_layer_one_each(layer_map: LayerMap, task: Task) -> None:
    linear = STUDENT.hidden_size * TEACHER.hidden_size + TEACHER.hidden_size
    for projection, num_maps in (("shared", 1), ("per_layer", 2)):
        loss = HiddenStateLoss(projection)
        loss.bind(STUDENT, TEACHER, layer_map, task)
        assert sum(parameter.numel() for parameter in loss.parameters()) == num_maps * linear


def test_equal_widths_need_no_map_and_identical_states_are_zero(scene: Scene, task: Task) -> None:
    identity = LayerMap(attention=(), hidden=((1, 1), (2, 2)))
    for loss in (HiddenStateLoss(), HiddenStateLoss("none"), HiddenStateLoss(normalise=True)):
        loss.bind(STUDENT, STUDENT, identity, task)
        assert not list(loss.parameters())
        assert loss(scene.student, scene.student, scene.batch, 1.0).total == 0


def test_shared_maps_equal_widths_too(task: Task) -> None:
    loss = HiddenStateLoss("shared")
    loss.bind(STUDENT, STUDENT, LayerMap(attention=(), hidden=((1, 1), (2, 2))), task)
    assert [type(module) for module in loss.projections] == [nn.Linear]


def test_opposite_directions_are_four(scene: Scene, task: Task) -> None:
    loss = HiddenStateLoss(normalise=True)
    loss.bind(STUDENT, STUDENT, LayerMap(attention=(), hidden=((1, 1),)), task)
    scene.teacher.hidden_states = {1: -3 * scene.student.hidden_states[1]}
    value = loss(scene.student, scene.teacher, scene.batch, 1.0).value
    torch.testing.assert_close(value, torch.tensor(4.0, dtype=torch.float64))


def test_plans_name_the_mapped_states_alone(layer_map: LayerMap, task: Task) -> None:
    loss = HiddenStateLoss(include_embeddings=True)
    loss.bind(STUDENT, TEACHER, layer_map, task)
    assert loss.student_plan.hidden_states == {0, 1, 2}
    assert loss.teacher_plan.hidden_states == {0, 2, 4}
    assert not loss.student_plan.logits


def test_none_with_different_widths_is_an_error(layer_map: LayerMap, task: Task) -> None:
    with pytest.raises(UserError, match="student is 8 wide and the teacher 12; use projection per_layer or shared"):
        HiddenStateLoss("none").bind(STUDENT, ModelShape(4, 12, 2), layer_map, task)


def test_unknown_projection_is_an_error() -> None:
    with pytest.raises(UserError, match="HiddenStateLoss projection 'linear' is unknown; use one of per_layer"):
        HiddenStateLoss("linear")


def test_state_0_of_a_map_by_hand_is_compared_once(scene: Scene, task: Task) -> None:
    """The map says which teacher state teaches the embedding output; asking for it again adds nothing."""
    by_hand = LayerMap(attention=(), hidden=((0, 0), (1, 2), (2, 4)))
    values = []
    for include_embeddings in (False, True):
        loss = HiddenStateLoss("shared", include_embeddings=include_embeddings)
        torch.manual_seed(0)
        loss.bind(STUDENT, TEACHER, by_hand, task)
        assert loss.student_plan.hidden_states == {0, 1, 2}
        values.append(loss(scene.student, scene.teacher, scene.batch, 1.0).value)
    assert values[0] == values[1]
