"""The embedding loss is the hidden-state loss on state 0 alone."""

from __future__ import annotations

import pytest
import torch

from distill.losses import EmbeddingLoss
from distill.tasks.base import Task
from distill.types import UserError

from .conftest import STUDENT, TEACHER, Scene


@pytest.mark.parametrize("mask_padding", [True, False])
def test_equals_the_formula(mask_padding: bool, scene: Scene, task: Task) -> None:
    loss = EmbeddingLoss(mask_padding=mask_padding)
    loss.bind(STUDENT, TEACHER, None, task)
    linear = loss.double().projections[0]
    total, count = 0.0, 0
    for window, length in enumerate(scene.batch.attention_mask.sum(1).tolist()):
        for token in range(length if mask_padding else scene.batch.attention_mask.shape[1]):
            projected = linear.weight @ scene.student.hidden_states[0][window, token] + linear.bias
            total += ((projected - scene.teacher.hidden_states[0][window, token]) ** 2).sum().item() / 12
            count += 1
    mean = loss(scene.student, scene.teacher, scene.batch, 1.0)
    assert mean.total.item() == pytest.approx(total, rel=1e-9)
    assert mean.count.item() == count


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
