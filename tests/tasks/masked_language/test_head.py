"""The head at hidden places alone says what the whole head says there."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from distill.tasks.masked_language.head import POSITION_MULTIPLE, find_head, head_at, masked_positions, masked_rows

from .conftest import VOCABULARY, masked_batch


def test_positions_are_those_of_the_labels(batch):
    positions = masked_positions(batch)
    expected = [
        block * 12 + place
        for block, row in enumerate(batch.labels["token_ids"].tolist())
        for place, label in enumerate(row)
        if label != -100
    ]
    assert positions.tolist() == expected
    assert len(expected) > 5


def test_logits_equal_the_whole_heads_at_the_hidden_places(any_model, batch):
    whole = any_model(**batch.inputs).logits
    with head_at(any_model, masked_positions(batch)):
        narrow = any_model(**batch.inputs).logits
    assert whole.shape == (6, 12, VOCABULARY)
    assert narrow.shape == (POSITION_MULTIPLE, VOCABULARY)
    torch.testing.assert_close(masked_rows(narrow, batch), masked_rows(whole, batch))


def test_gradients_equal_those_of_the_whole_head(any_model, batch):
    gradients = []
    for positions in (None, masked_positions(batch)):
        any_model.zero_grad()
        if positions is None:
            logits = any_model(**batch.inputs).logits
        else:
            with head_at(any_model, positions):
                logits = any_model(**batch.inputs).logits
        masked_rows(logits, batch).square().sum().backward()
        gradients.append({name: p.grad.clone() for name, p in any_model.named_parameters() if p.grad is not None})
    assert gradients[0].keys() == gradients[1].keys()
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient, msg=name, rtol=1e-4, atol=1e-4)


def test_number_of_rows_is_rounded_up_so_that_shapes_repeat(model):
    shapes = set()
    for seed in range(6):
        batch = masked_batch(num_blocks=20, seed=seed)
        with head_at(model, masked_positions(batch)):
            logits = model(**batch.inputs).logits
        assert len(masked_rows(logits, batch)) == len(masked_positions(batch))
        shapes.add(len(logits))
    assert all(rows % POSITION_MULTIPLE == 0 for rows in shapes)
    assert len({len(masked_positions(masked_batch(20, seed=seed))) for seed in range(6)}) > len(shapes)


def test_no_positions_leave_the_head_out(any_model, batch):
    with head_at(any_model, masked_positions(batch)[:0]):
        assert any_model(**batch.inputs).logits.shape == (0, VOCABULARY)


def test_no_positions_under_bfloat16(model, batch):
    with torch.autocast("cpu", torch.bfloat16), head_at(model, masked_positions(batch)[:0]):
        assert model(**batch.inputs).logits.shape == (0, VOCABULARY)


def test_the_model_is_left_as_it_was(model, batch):
    before = model(**batch.inputs).logits
    with pytest.raises(RuntimeError, match="stop"), head_at(model, masked_positions(batch)):
        raise RuntimeError("stop")
    assert torch.equal(model(**batch.inputs).logits, before)


def test_unknown_family_computes_the_whole_head(model, batch):
    model.renamed_head = model.lm_head
    del model.lm_head
    assert find_head(model) is None
    with head_at(model, masked_positions(batch)):  # nothing to narrow
        hidden = model.base_model(**batch.inputs)[0]
    logits = model.renamed_head(hidden)
    assert logits.shape == (6, 12, VOCABULARY)
    assert masked_rows(logits, batch).shape == (len(masked_positions(batch)), VOCABULARY)


def test_rows_are_wide_enough_for_a_softmax(batch):
    assert masked_rows(torch.zeros(64, VOCABULARY, dtype=torch.bfloat16), batch).dtype == torch.float32
    assert masked_rows(torch.zeros(64, VOCABULARY, dtype=torch.float64), batch).dtype == torch.float64


def test_head_is_found_under_its_familys_name(any_model):
    assert isinstance(find_head(any_model), nn.Module)
    assert find_head(any_model) is not any_model.base_model
