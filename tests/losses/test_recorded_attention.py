"""Attention losses of recorded models, with their gradients in all weights, against maps that are written out."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor
from transformers import AutoModelForQuestionAnswering, BertConfig, PreTrainedModel

from distill.losses import blocks
from distill.losses.attention import AttentionLoss
from distill.models.recording import Recorder, model_shape
from distill.tasks.question_answering.task import QuestionAnswering
from distill.types import Batch, LayerMap, RecordingPlan

LAYER = 2
CONFIG = BertConfig(
    vocab_size=500, hidden_size=64, num_hidden_layers=3, num_attention_heads=4, intermediate_size=128,
    max_position_embeddings=128, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
)  # fmt: skip


def build(seed: int) -> PreTrainedModel:
    """Return a model whose attention is far from uniform, with biases as pretrained ones have."""
    torch.manual_seed(seed)
    model = AutoModelForQuestionAnswering.from_config(CONFIG, attn_implementation="eager").eval()
    for parameter in model.parameters():
        parameter.data = (
            parameter.data * 4 if parameter.ndim > 1 else parameter.data + 0.3 * torch.randn_like(parameter)
        )
    return model


def make_batch(length: int) -> Batch:
    """Return five windows, two of them padded."""
    ids = torch.randint(5, 500, (5, length), generator=torch.Generator().manual_seed(0))
    mask = torch.ones_like(ids)
    mask[1, length - 20 :] = 0
    mask[4, 7:] = 0
    return Batch({"input_ids": ids, "attention_mask": mask}, {}, torch.arange(5))


def gradients(model: PreTrainedModel) -> Tensor:
    return torch.cat([p.grad.flatten().double() for p in model.parameters() if p.grad is not None])


def recorded_loss(student: PreTrainedModel, teacher: PreTrainedModel, batch: Batch, **options) -> tuple[Tensor, Tensor]:
    """Return the loss as a run computes it, and its gradients."""
    loss = AttentionLoss(**options)
    layer_map = LayerMap(attention=((LAYER, LAYER),), hidden=())
    loss.bind(model_shape(student), model_shape(teacher), layer_map, QuestionAnswering())
    records = [
        Recorder(model).record(batch.inputs, plan, lambda output: output.start_logits)
        for model, plan in ((student, loss.student_plan), (teacher, loss.teacher_plan))
    ]
    value = loss(*records, batch, 1.0).value
    value.backward()
    return value.detach().double(), gradients(student)


def written_out_loss(maps: list[Tensor], batch: Batch, mask_padding: bool) -> Tensor:
    keys = batch.attention_mask
    rows = keys if mask_padding else torch.ones_like(keys)
    squares = (maps[0] - maps[1]).square() * rows[:, None, :, None] * keys[:, None, None, :]
    heads = CONFIG.num_attention_heads
    return squares.sum() / (heads * (keys.sum(1).square().sum() if mask_padding else keys.numel() * keys.shape[1]))


def assert_close(found: tuple[Tensor, Tensor], value: Tensor, gradient: Tensor) -> None:
    torch.testing.assert_close(found[0], value.detach().double(), rtol=1e-5, atol=0)
    assert (found[1] - gradient).norm() <= 1e-5 * gradient.norm()


@pytest.mark.parametrize("mask_padding", [True, False])
@pytest.mark.parametrize("windows_in_block", [1, 5])
def test_probabilities_are_those_of_eager_attention(mask_padding, windows_in_block, monkeypatch):
    length = 64
    monkeypatch.setitem(blocks._BLOCK_NUMBERS, "cpu", windows_in_block * CONFIG.num_attention_heads * length**2)
    batch, teacher, student = make_batch(length), build(1).requires_grad_(False), build(2)
    found = recorded_loss(copy.deepcopy(student), teacher, batch, target="probabilities", mask_padding=mask_padding)
    wide = student.double()
    eager = [
        model(**batch.inputs, output_attentions=True).attentions[LAYER]
        for model in (wide, build(1).double().requires_grad_(False))
    ]
    expected = written_out_loss(eager, batch, mask_padding)
    expected.backward()
    assert_close(found, expected, gradients(wide))


@pytest.mark.parametrize("length", [64, 128])  # heads of 16 + 16: maps for 64 tokens, none for 128
@pytest.mark.parametrize("distance", [1.0, 0.01])
def test_scores_are_those_written_out_in_float64(length, distance):
    batch, teacher = make_batch(length), build(1).requires_grad_(False)
    student, noise = build(1), torch.Generator().manual_seed(3)
    for parameter in student.parameters():
        parameter.data += distance * parameter.data.std() * torch.randn(parameter.shape, generator=noise)
    found = recorded_loss(copy.deepcopy(student), teacher, batch, target="scores")
    wide = student.double()
    plan = RecordingPlan(attentions=frozenset([LAYER]), logits=False)
    scores = [
        inputs.scaling * inputs.query @ inputs.key.mT
        for model in (wide, build(1).double().requires_grad_(False))
        for inputs in [Recorder(model).record(batch.inputs, plan, lambda output: output.start_logits).attentions[LAYER]]
    ]
    expected = written_out_loss(scores, batch, mask_padding=True)
    expected.backward()
    assert_close(found, expected, gradients(wide))
