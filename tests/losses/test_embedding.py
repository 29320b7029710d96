"""The embedding loss is the hidden-state loss on state 0 alone."""

from __future__ import annotations

import pytest
import torch

from distill.losses import EmbeddingLoss
from distill.tasks.base import Task
from distill.types import UserError

from .conftest import STUDENT, TEACHER, Scene


@pytest.mark.parametrize("mask_padding", [True, False])
@pytest.mark.parametrize("normalise", [False, True])
def test_equals_the_formula(mask_padding: bool, normalise: bool, scene: Scene, task: Task) -> None:
    loss = EmbeddingLoss(mask_padding=mask_padding, normalise=normalise)
    loss.bind(STUDENT, TEACHER, None, task)
    linear = loss.double().projections[0]
    total, count = 0.0, 0
    for window, length in enumerate(scene.batch.attention_mask.sum(1).tolist()):
        for token in range(length if mask_padding else scene.batch.attention_mask.shape[1]):
            projected = linear.weight @ scene.student.hidden_states[0][window, token] + linear.bias
            target = scene.teacher.hidden_states[0][window, token]
            if normalise:
                unit, other = projected / projected.square().sum().sqrt(), target / target.square().sum().sqrt()
                total += ((unit - other) ** 2).sum().item()
            else:
                total += ((projected - target) ** 2).sum().item() / 12
            count += 1
    mean = loss(scene.student, scene.teacher, scene.batch, 1.0)
    assert mean.total.item() == pytest.approx(total, rel=1e-9)
    assert mean.count.item() == count


def test_shared_projection_maps_equal_widths_too(scene: Scene, task: Task) -> None:
    loss = EmbeddingLoss("shared")
    loss.bind(STUDENT, STUDENT, None, task)
    (linear,) = loss.double().projections
    with torch.no_grad():
        linear.weight.copy_(2 * torch.eye(8))
        linear.bias.fill_(1.0)
    # W e + b = 2 e + 1, and the teacher's is 2 e + 4: a square of 9 everywhere.
    scene.teacher.hidden_states = {0: 2 * scene.student.hidden_states[0] + 4.0}
    value = loss(scene.student, scene.teacher, scene.batch, 1.0).value
    torch.testing.assert_close(value, torch.tensor(9.0, dtype=torch.float64))


def test_by_hand(scene: Scene, task: Task) -> None:
    loss = EmbeddingLoss("none")
    loss.bind(STUDENT, STUDENT, None, task)
    scene.teacher.hidden_states = {0: scene.student.hidden_states[0] + 3.0}
    value = loss(scene.student, scene.teacher, scene.batch, 1.0).value
    torch.testing.assert_close(value, torch.tensor(9.0, dtype=torch.float64))


def test_plans_name_state_0_alone(task: Task) -> None:
    loss = EmbeddingLoss()
    loss.bind(STUDENT, TEACHER, None, task)
    assert loss.student_plan.hidden_states == loss.teacher_plan.hidden_states == {0}
    assert not loss.teacher_plan.logits


def test_unknown_projection_names_this_loss() -> None:
    with pytest.raises(UserError, match="EmbeddingLoss projection"):
        EmbeddingLoss("fit_dense")
