"""Recordings from models and from stored logits look alike."""

import pytest
import torch

from distill.tasks.base import MASKED_LOGIT
from distill.teaching.sources import LOGITS_ALONE, ModelSource, StoredSource, mean_logits, scatter_rows
from distill.types import Batch, RecordingPlan


def batch_of(mask: list[list[int]], window_ids: list[int] | None = None) -> Batch:
    attention_mask = torch.tensor(mask)
    return Batch({"attention_mask": attention_mask}, {}, torch.tensor(window_ids or list(range(len(mask)))))


class FakeStore:
    """Window i has i + 1 tokens, whose logits are (10 i + token, its negative)."""

    def rows(self, window_ids: list[int]) -> torch.Tensor:
        values = [10.0 * i + token for i in window_ids for token in range(i + 1)]
        return torch.tensor([[value, -value] for value in values], dtype=torch.float16)


@pytest.mark.parametrize("mask", [[[1, 1, 0, 0], [1, 1, 1, 0]], [[0, 0, 1, 1], [0, 1, 1, 1]]], ids=["right", "left"])
def test_stored_logits_stand_at_the_real_tokens_of_either_side(mask):
    recording = StoredSource(FakeStore()).record(batch_of(mask, [1, 2]), LOGITS_ALONE)
    real = torch.tensor(mask).bool()
    assert recording.logits.dtype == torch.float32
    assert recording.logits.shape == (2, 4, 2)
    assert recording.logits[real].tolist() == [[value, -value] for value in (10, 11, 20, 21, 22)]
    assert (recording.logits[~real] == torch.tensor(MASKED_LOGIT)).all()
    assert not recording.hidden_states
    assert not recording.attentions


def test_stored_logits_do_not_depend_on_the_width_of_the_batch():
    narrow = StoredSource(FakeStore()).record(batch_of([[1, 1, 1]], [2]), LOGITS_ALONE).logits
    wide = StoredSource(FakeStore()).record(batch_of([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]], [2, 4]), LOGITS_ALONE).logits
    assert torch.equal(narrow[0], wide[0, :3])


@pytest.mark.parametrize(
    "plan",
    [
        RecordingPlan(hidden_states=frozenset({1})),
        RecordingPlan(attentions=frozenset({0})),
        RecordingPlan(padding=True),
        RecordingPlan(logits=False),
    ],
)
def test_stored_logits_serve_no_other_plan(plan):
    with pytest.raises(ValueError, match="cannot serve"):
        StoredSource(FakeStore()).record(batch_of([[1]], [0]), plan)


def test_rows_of_any_shape_are_scattered():
    for shape in ((), (3,), (2, 2)):
        rows = torch.randn(3, *shape)
        scattered = scatter_rows(rows, batch_of([[1, 0], [1, 1]]))
        assert scattered.shape == (2, 2, *shape)
        torch.testing.assert_close(scattered[torch.tensor([[True, False], [True, True]])], rows)


def test_mean_is_weighted_by_hand():
    first, second = torch.tensor([[[1.0, 2.0]]]), torch.tensor([[[4.0, -1.0]]], dtype=torch.bfloat16)
    assert mean_logits([first, second], [1.0, 3.0]).tolist() == [[[3.25, -0.25]]]


def test_mean_keeps_masked_places_masked():
    masked = torch.full((1, 1, 2), MASKED_LOGIT)
    assert (mean_logits([masked, masked], [1.0, 0.5]) < MASKED_LOGIT / 2).all()


def test_model_is_run_without_gradients(teacher: ModelSource, windows):
    teacher.model.requires_grad_(True)
    recording = teacher.record(windows[[0, 1]], RecordingPlan(hidden_states=frozenset({1})))
    assert not recording.logits.requires_grad
    assert not recording.hidden_states[1].requires_grad
