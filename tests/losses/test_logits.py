"""Losses on the head's scores against loops over rows and real tokens."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from distill.losses import LabelLoss, LogitLoss
from distill.losses.logits import LogitDistance
from distill.tasks.base import Task
from distill.types import Batch, LayerMap, Recording, UserError

from .conftest import STUDENT, TEACHER, Scene


def _softmax(logits: np.ndarray) -> np.ndarray:
    return np.exp(logits) / np.exp(logits).sum()


def _rows(scene: Scene, recording: Recording, mask_padding: bool) -> list[np.ndarray]:
    """The choices of each pointer of each window, without those that padding takes away."""
    logits = recording.logits.detach().numpy()
    lengths = scene.batch.attention_mask.sum(1).tolist() if mask_padding else [logits.shape[1]] * len(logits)
    return [logits[window, :length, pointer] for pointer in range(2) for window, length in enumerate(lengths)]


@pytest.mark.parametrize("kind", ["kl", "soft_cross_entropy"])
@pytest.mark.parametrize("mask_padding", [True, False])
@pytest.mark.parametrize("temperature", [1.0, 2.5])
def test_equals_loops(
    kind: LogitDistance, mask_padding: bool, temperature: float, scene: Scene, layer_map: LayerMap, task: Task
) -> None:
    total = 0.0
    pairs = zip(_rows(scene, scene.student, mask_padding), _rows(scene, scene.teacher, mask_padding), strict=True)
    for student, teacher in pairs:
        p, q = _softmax(teacher / temperature), _softmax(student / temperature)
        total += temperature**2 * (sum(p * np.log(p / q)) if kind == "kl" else -sum(p * np.log(q)))

    loss = LogitLoss(kind, mask_padding)
    loss.bind(STUDENT, TEACHER, layer_map, task)
    mean = loss(scene.student, scene.teacher, scene.batch, temperature)
    assert mean.total.item() == pytest.approx(total, rel=1e-9)
    assert mean.count.item() == 6


def test_kl_equals_the_released_code_of_the_paper(scene: Scene, layer_map: LayerMap, task: Task) -> None:
    """Start and end by ``batchmean`` over all places, padding included, summed: twice this loss."""
    loss = LogitLoss("kl", mask_padding=False)
    loss.bind(STUDENT, TEACHER, layer_map, task)
    published = sum(
        F.kl_div(
            F.log_softmax(scene.student.logits[..., pointer] / 1.5, dim=-1),
            F.softmax(scene.teacher.logits[..., pointer] / 1.5, dim=-1),
            reduction="batchmean",
        )
        * 1.5**2
        for pointer in range(2)
    )
    torch.testing.assert_close(2 * loss(scene.student, scene.teacher, scene.batch, 1.5).value, published)


def test_kl_of_identical_logits_is_zero_and_soft_cross_entropy_the_entropy(scene: Scene, task: Task) -> None:
    kl, soft = LogitLoss("kl"), LogitLoss("soft_cross_entropy")
    for loss in (kl, soft):
        loss.bind(STUDENT, STUDENT, None, task)
    assert kl(scene.student, scene.student, scene.batch, 2.0).total.item() == pytest.approx(0, abs=1e-12)
    entropy = sum(-(p * np.log(p)).sum() for p in map(_softmax, _rows(scene, scene.student, True)))
    assert soft(scene.student, scene.student, scene.batch, 1.0).total.item() == pytest.approx(entropy)


def test_both_kinds_have_the_same_gradient(scene: Scene, task: Task) -> None:
    gradients = []
    for kind in ("kl", "soft_cross_entropy"):
        loss = LogitLoss(kind)
        loss.bind(STUDENT, TEACHER, None, task)
        value = loss(scene.student, scene.teacher, scene.batch, 3.0).value
        gradients.append(torch.autograd.grad(value, scene.student.logits)[0])
    torch.testing.assert_close(*gradients)


def test_labels_equal_loops(scene: Scene, task: Task) -> None:
    loss = LabelLoss()
    loss.bind(STUDENT, None, None, task)
    targets = scene.batch.labels["start_positions"].tolist() + scene.batch.labels["end_positions"].tolist()
    rows = _rows(scene, scene.student, True)
    expected = -sum(math.log(_softmax(row)[target]) for row, target in zip(rows, targets, strict=True))
    mean = loss(scene.student, None, scene.batch, 9.0)
    assert mean.total.item() == pytest.approx(expected, rel=1e-9)
    assert mean.count.item() == 6


def test_by_hand(task: Task) -> None:
    """Student 1/4 against teacher 1/2 on two classes, for both pointers."""
    student = Recording(logits=torch.tensor([[[0.0, 0.0], [math.log(3.0), math.log(3.0)]]]))
    teacher = Recording(logits=torch.zeros(1, 2, 2))
    labels = {"start_positions": torch.tensor([0]), "end_positions": torch.tensor([0])}
    batch = Batch({"attention_mask": torch.ones(1, 2, dtype=torch.long)}, labels, torch.zeros(1))
    expected = {LogitLoss: 0.5 * math.log(2) + 0.5 * math.log(2 / 3), LabelLoss: math.log(4)}
    for kind, value in expected.items():
        loss = kind()
        loss.bind(STUDENT, TEACHER, None, task)
        assert loss(student, teacher, batch, 1.0).value.item() == pytest.approx(value, rel=1e-6)


def test_missing_logits_are_a_mistake_of_the_caller(scene: Scene, task: Task) -> None:
    loss = LabelLoss()
    loss.bind(STUDENT, None, None, task)
    with pytest.raises(TypeError, match="holds no logits"):
        loss(Recording(), None, scene.batch, 1.0)


def test_unknown_kind_is_an_error() -> None:
    with pytest.raises(UserError, match="'mse' is unknown; use kl or soft_cross_entropy"):
        LogitLoss("mse")
