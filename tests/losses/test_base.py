"""What must hold for every loss."""

from __future__ import annotations

import pytest
import torch

from distill.losses import AttentionLoss, DistillationLoss, HiddenStateLoss, LabelLoss, RelationLoss
from distill.tasks.base import Task
from distill.types import Batch, LayerMap, UserError

from .conftest import LOSSES, STUDENT, TEACHER, Scene, tensors_of

TEMPERATURE = 2.0


def test_padding_does_not_count(loss: DistillationLoss, scene: Scene) -> None:
    plain = loss(scene.student, scene.teacher, scene.batch, TEMPERATURE)
    longer = scene.padded(3)
    padded = loss(longer.student, longer.teacher, longer.batch, TEMPERATURE)
    assert plain.total.item() != 0
    torch.testing.assert_close(padded.total, plain.total, rtol=1e-12, atol=1e-12)
    assert padded.count == plain.count


@pytest.mark.parametrize("name", [name for name in LOSSES if name != "labels"])
def test_unmasked_padding_counts(name: str, scene: Scene, task: Task, layer_map: LayerMap) -> None:
    loss = LOSSES[name](False)
    loss.bind(STUDENT, TEACHER, layer_map, task)
    masked = LOSSES[name](True)
    masked.bind(STUDENT, TEACHER, layer_map, task)
    masked.load_state_dict(loss.state_dict())
    unmasked_value = loss(scene.student, scene.teacher, scene.batch, TEMPERATURE).value
    masked_value = masked(scene.student, scene.teacher, scene.batch, TEMPERATURE).value
    assert abs(unmasked_value - masked_value) > 1e-3


def test_batches_add_up(loss: DistillationLoss, scene: Scene) -> None:
    whole = loss(scene.student, scene.teacher, scene.batch, TEMPERATURE)
    parts = [scene.rows(0, 1), scene.rows(1, 3)]
    means = [loss(part.student, part.teacher, part.batch, TEMPERATURE) for part in parts]
    torch.testing.assert_close(sum(mean.total for mean in means), whole.total, rtol=1e-12, atol=1e-12)
    assert sum(mean.count for mean in means) == whole.count


@pytest.mark.parametrize("mask_padding", [True, False])
@pytest.mark.parametrize("name", LOSSES)
def test_count_is_known_before_the_models_run(
    name: str, mask_padding: bool, scene: Scene, task: Task, layer_map: LayerMap
) -> None:
    loss = LOSSES[name](mask_padding)
    loss.bind(STUDENT, TEACHER, layer_map, task)
    for part in (scene, scene.rows(1, 3)):
        mean = loss(part.student, part.teacher, part.batch, TEMPERATURE)
        assert loss.count(part.batch) == mean.count


def test_gradient_reaches_what_the_plan_names_and_no_teacher(loss: DistillationLoss, scene: Scene) -> None:
    loss(scene.student, scene.teacher, scene.batch, TEMPERATURE).value.backward()
    plan = loss.student_plan
    expected = {f"state {state}" for state in plan.hidden_states}
    expected |= {f"{part} {layer}" for layer in plan.attentions for part in _compared_parts(loss)}
    expected |= {"logits"} if plan.logits else set()
    reached = {
        name for name, tensor in tensors_of(scene.student).items() if tensor.grad is not None and tensor.grad.any()
    }
    assert reached == expected
    assert all(tensor.grad is None for tensor in tensors_of(scene.teacher).values())
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in loss.parameters())


def test_padding_gets_no_gradient(loss: DistillationLoss, scene: Scene) -> None:
    loss(scene.student, scene.teacher, scene.batch, TEMPERATURE).value.backward()
    pad = ~scene.batch.attention_mask.bool()
    for name, tensor in tensors_of(scene.student).items():
        if tensor.grad is not None:
            by_token = tensor.grad if tensor.dim() == 3 else tensor.grad.transpose(1, 2).flatten(2)
            assert not by_token[pad].any(), name


def test_analytic_gradient(loss: DistillationLoss, scene: Scene) -> None:
    unused = {"query", "key", "value"} - _compared_parts(loss)
    inputs = [tensor for name, tensor in tensors_of(scene.student).items() if name.split()[0] not in unused]

    def value(*_: torch.Tensor) -> torch.Tensor:
        return loss(scene.student, scene.teacher, scene.batch, TEMPERATURE).value

    assert torch.autograd.gradcheck(value, inputs, fast_mode=True)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_low_precision_reduces_in_float32(loss: DistillationLoss, scene: Scene, dtype: torch.dtype) -> None:
    low = scene.cast(dtype)
    exact = loss(*_parts(low.cast(torch.float64)))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mean = loss.float()(*_parts(low))
    assert mean.total.dtype == torch.float32
    torch.testing.assert_close(mean.total.double(), exact.total, rtol=1e-5, atol=1e-5)


def test_follows_low_precision_weights(loss: DistillationLoss, scene: Scene) -> None:
    mean = loss.bfloat16()(*_parts(scene.cast(torch.bfloat16)))
    assert mean.total.dtype == torch.float32
    assert mean.total.isfinite()


def test_nothing_real_is_zero_with_a_gradient_path(loss: DistillationLoss, scene: Scene) -> None:
    if loss.student_plan.logits:
        empty = scene.rows(0, 0)
    else:
        scene.batch.attention_mask.zero_()
        empty = scene
    mean = loss(*_parts(empty))
    assert mean.total == 0
    assert mean.count == 0
    mean.value.backward()
    grads = [tensor.grad for tensor in tensors_of(scene.student).values() if tensor.grad is not None]
    assert grads
    assert all(grad.isfinite().all() and not grad.any() for grad in grads)


def test_needs_the_teacher_it_says(loss: DistillationLoss, scene: Scene) -> None:
    if loss.needs_teacher:
        with pytest.raises(TypeError, match="needs the teacher's recording"):
            loss(scene.student, None, scene.batch, TEMPERATURE)
    else:
        assert loss(scene.student, None, scene.batch, TEMPERATURE).total > 0


@pytest.mark.parametrize("name", [name for name in LOSSES if name != "labels"])
def test_no_teacher_is_an_error(name: str, task: Task, layer_map: LayerMap) -> None:
    with pytest.raises(UserError, match="compares with a teacher, but there is none"):
        LOSSES[name](True).bind(STUDENT, None, layer_map, task)


@pytest.mark.parametrize("loss", [AttentionLoss(), HiddenStateLoss()])
def test_no_layer_map_is_an_error(loss: DistillationLoss, task: Task) -> None:
    with pytest.raises(UserError, match="there is no layer_map"):
        loss.bind(STUDENT, TEACHER, None, task)


def test_labels_need_no_teacher(task: Task) -> None:
    loss = LabelLoss()
    loss.bind(STUDENT, None, None, task)
    assert not loss.teacher_plan.logits


def _compared_parts(loss: DistillationLoss) -> set[str]:
    """Return which inputs of attention a loss on attention reads."""
    return {"query", "key", "value"} if isinstance(loss, RelationLoss) else {"query", "key"}


def _parts(scene: Scene) -> tuple[object, object, Batch, float]:
    return scene.student, scene.teacher, scene.batch, TEMPERATURE
