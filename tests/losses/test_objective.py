"""The weighted sum of named losses and what has to be recorded for it."""

from __future__ import annotations

import pytest
import torch

from distill.losses import (
    AttentionLoss,
    EmbeddingLoss,
    HiddenStateLoss,
    LabelLoss,
    LogitLoss,
    Objective,
    check_weights,
)
from distill.tasks.base import Task
from distill.types import LayerMap, Recording, RecordingPlan, UserError

from .conftest import STUDENT, TEACHER, Scene


@pytest.fixture
def objective(layer_map: LayerMap, task: Task) -> Objective:
    objective = Objective(
        {
            "attention": AttentionLoss(),
            "hidden": HiddenStateLoss(),
            "embedding": EmbeddingLoss(),
            "logits": LogitLoss(),
            "labels": LabelLoss(),
        }
    )
    objective.bind(STUDENT, TEACHER, layer_map, task)
    return objective.double()


def test_total_is_the_weighted_sum_and_terms_are_raw(objective: Objective, scene: Scene) -> None:
    weights = {"attention": 0.5, "hidden": 2.0, "labels": 0.0}
    value = objective(scene.student, scene.teacher, scene.batch, weights, 1.0)
    alone = {
        name: objective(scene.student, scene.teacher, scene.batch, {name: 1.0}, 1.0).total
        for name in ("attention", "hidden")
    }
    assert value.terms.keys() == alone.keys()
    for name, term in alone.items():
        torch.testing.assert_close(value.terms[name], term)
    torch.testing.assert_close(value.total, 0.5 * alone["attention"] + 2.0 * alone["hidden"])
    value.total.backward()
    assert scene.student.hidden_states[1].grad.any()


def test_terms_without_weight_need_no_recording(objective: Objective, scene: Scene) -> None:
    only_logits = Recording(logits=scene.student.logits)
    value = objective(only_logits, None, scene.batch, {"labels": 1.0, "hidden": 0.0}, 1.0)
    assert value.terms.keys() == {"labels"}


def test_temperature_reaches_the_logits(objective: Objective, scene: Scene) -> None:
    low, high = (
        objective(scene.student, scene.teacher, scene.batch, {"logits": 1.0}, temperature).total
        for temperature in (1.0, 4.0)
    )
    assert low != high


def test_plans_join_the_active_terms(objective: Objective) -> None:
    student, teacher = objective.plans({"attention": 1.0, "embedding": 1.0, "hidden": 0.0})
    assert student == RecordingPlan(frozenset({0}), frozenset({0, 1}), logits=False)
    assert teacher == RecordingPlan(frozenset({0}), frozenset({1, 3}), logits=False)
    student, teacher = objective.plans({"logits": 1.0, "labels": 1.0})
    assert student == teacher == RecordingPlan(logits=True)


def test_plans_are_worked_out_once_and_anew_for_another_layer_map(objective: Objective, task: Task) -> None:
    weights = {"attention": 1.0, "hidden": 1.0}
    before = objective.plans(weights)
    assert objective.plans(dict(weights)) is before
    objective.bind(STUDENT, TEACHER, LayerMap(((0, 0), (1, 1)), ((1, 1), (2, 2))), task)
    after = objective.plans(weights)
    assert after[1] is not None
    assert after[1].attentions == {0, 1} != before[1].attentions


def test_labels_alone_need_no_teacher(objective: Objective, task: Task) -> None:
    assert objective.plans({"labels": 1.0}) == (RecordingPlan(logits=True), None)
    assert objective.needs_teacher
    assert not Objective({"labels": LabelLoss()}).needs_teacher


def test_learned_maps_are_parameters_of_the_objective(objective: Objective) -> None:
    names = {name for name, _ in objective.named_parameters()}
    assert {"terms.hidden.projections.1.weight", "terms.embedding.projections.0.bias"} <= names


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"kl": 1.0}, "'kl' names no loss; the losses are labels, logits"),
        ({"logits": -1.0}, "'logits' is -1.0; it must be a finite number from 0"),
        ({"logits": float("nan")}, "'logits' is nan"),
        ({"logits": 0.0}, "no loss has a weight above 0; weigh at least one of labels, logits"),
        ({}, "no loss has a weight above 0"),
    ],
)
def test_bad_weights_are_errors(weights: dict[str, float], message: str) -> None:
    with pytest.raises(UserError, match=message):
        check_weights(["logits", "labels"], weights)


@pytest.mark.parametrize("name", ["a.b", "keys", ""])
def test_impossible_names_are_errors(name: str) -> None:
    with pytest.raises(UserError, match="cannot be the name of a loss"):
        Objective({name: LabelLoss()})


def test_no_terms_are_an_error() -> None:
    with pytest.raises(UserError, match="there is no loss to train on"):
        Objective({})
