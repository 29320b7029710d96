"""Masked-language modelling fits the same losses, recorders and reports as any other task."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F
from transformers import AutoModelForMaskedLM, RobertaForMaskedLM

from distill.losses import LabelLoss, LogitLoss
from distill.models.recording import Recorder
from distill.tasks.masked_language import MaskedLanguage
from distill.types import RecordingPlan

from .conftest import CONFIGS, VOCABULARY, part


@pytest.fixture
def task() -> MaskedLanguage:
    return MaskedLanguage()


def recorded(task, model, batch, plan=RecordingPlan()):  # noqa: B008 - frozen
    with task.focus(model, batch, plan.logits):
        return Recorder(model).record(batch.inputs, plan, task.logits)


def test_label_loss_equals_the_librarys_own_loss(task, any_model, batch):
    loss = LabelLoss()
    loss.bind(None, None, None, task)
    mean = loss(recorded(task, any_model, batch), None, batch)
    expected = any_model(**batch.inputs, labels=batch.labels["token_ids"]).loss
    torch.testing.assert_close(mean.value, expected)
    assert mean.count == task.num_head_tokens(batch)


def test_batches_of_unequally_many_hidden_tokens_add_up(task, model, batch):
    loss = LabelLoss()
    loss.bind(None, None, None, task)
    whole = loss(recorded(task, model, batch), None, batch)
    parts = [part(batch, 0, 1), part(batch, 1, 6)]
    means = [loss(recorded(task, model, piece), None, piece) for piece in parts]
    torch.testing.assert_close(sum(mean.total for mean in means), whole.total)
    assert sum(mean.count for mean in means) == whole.count


def test_logit_loss_is_the_divergence_over_the_vocabulary(task, batch):
    torch.manual_seed(0)
    student, teacher = (AutoModelForMaskedLM.from_config(CONFIGS["roberta"]).eval() for _ in range(2))
    loss = LogitLoss()
    loss.bind(None, "any", None, task)
    with torch.no_grad():
        mean = loss(recorded(task, student, batch), recorded(task, teacher, batch), batch, 2.0)
        hidden = batch.labels["token_ids"] != -100
        mine, other = (F.log_softmax(m(**batch.inputs).logits[hidden] / 2, -1) for m in (student, teacher))
    torch.testing.assert_close(mean.value, 4 * (other.exp() * (other - mine)).sum(-1).mean())


def test_head_is_left_out_where_no_loss_reads_it(task, model, batch, monkeypatch):
    seen = []
    model.lm_head.decoder.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0].shape[0]))
    recording = recorded(task, model, batch, RecordingPlan(hidden_states=frozenset([2]), logits=False))
    assert recording.hidden_states[2].shape == (6, 12, 8)
    assert recording.logits is None
    assert seen == [0]


def test_gradients_under_bfloat16_are_close_to_those_of_float32(task, model, batch):
    loss = LabelLoss()
    loss.bind(None, None, None, task)
    gradients = []
    for enabled in (False, True):
        model.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            recording = recorded(task, model, batch)
            mean = loss(recording, None, batch)
        assert recording.logits.dtype == (torch.bfloat16 if enabled else torch.float32)
        assert mean.total.dtype == torch.float32
        mean.value.backward()
        gradients.append(model.lm_head.dense.weight.grad.clone())
    assert (gradients[1] - gradients[0]).norm() < 0.05 * gradients[0].norm()


def test_batch_without_hidden_tokens_has_no_rows_and_no_loss(task, model, batch):
    batch.labels["token_ids"].fill_(-100)
    recording = recorded(task, model, batch)
    assert task.rows(recording.logits, batch).shape == (0, VOCABULARY)
    assert task.targets(batch).shape == (0,)
    loss = LabelLoss()
    loss.bind(None, None, None, task)
    mean = loss(recording, None, batch)
    assert mean.value == 0
    mean.value.backward()


def test_rows_and_targets_belong_together(task, batch):
    logits = torch.arange(6 * 12 * VOCABULARY, dtype=torch.float32).reshape(6, 12, VOCABULARY)
    rows, targets = task.rows(logits, batch), task.targets(batch)
    places = (batch.labels["token_ids"] != -100).nonzero()
    for row, target, (block, place) in zip(rows, targets, places, strict=True):
        assert torch.equal(row, logits[block, place])
        assert target == batch.labels["token_ids"][block, place]


def test_lower_perplexity_is_better_and_comes_first(task):
    assert task.headline[0] is task.main_score
    assert (task.main_score.name, task.main_score.higher_is_better) == ("perplexity", False)
    assert {score.name for score in task.headline if score.higher_is_better} == {"accuracy"}


def test_model_is_built_and_loaded_in_full_precision_with_a_tied_vocabulary(task, tmp_path):
    built = task.build_model(CONFIGS["roberta"])
    assert isinstance(built, RobertaForMaskedLM)
    built.half().save_pretrained(tmp_path)
    loaded, info = task.load_model(str(tmp_path), output_loading_info=True)
    assert loaded.dtype == torch.float32
    assert not info["missing_keys"]
    assert loaded.lm_head.decoder.weight is loaded.roberta.embeddings.word_embeddings.weight
    assert task.logits(loaded(torch.tensor([[5, 4, 2]]))).shape == (1, 3, VOCABULARY)
