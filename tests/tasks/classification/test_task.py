"""Features and scores of classified texts."""

from __future__ import annotations

import pytest
import torch

from distill.models.loading import EMBEDDED, load_tokenizer
from distill.tasks.classification import LabelledText, SequenceClassification
from distill.types import Batch

LABELS = ("a", "b", "c")


def test_pairs_are_cut_to_length_and_counted():
    task, tokenizer = SequenceClassification(), load_tokenizer(EMBEDDED)
    examples = [LabelledText("x:1", "Ana ríe", "Ana ríe", "1"), LabelledText("x:2", "Ana ríe " * 40, "No", "0")]
    columns = task.columns(examples, tokenizer, 32, first_index=7)
    assert columns["example_index"] == [7, 8]
    assert columns["class_id"] == [1, 0]
    assert columns["is_cut"] == [False, True]
    assert columns["input_ids"][0] == tokenizer("Ana ríe", "Ana ríe")["input_ids"]
    assert len(columns["input_ids"][1]) == 32
    assert columns["input_ids"][1][-2:] == tokenizer("", "No")["input_ids"][-2:]


def test_scores_by_hand():
    """Three of four right; F1 of the classes 2/3, 4/5... and macro over those that occur."""
    examples = [LabelledText(f"x:{i}", "t", None, label) for i, label in enumerate("aabb")]
    evaluation = SequenceClassification(LABELS).evaluation(examples)
    logits = torch.eye(3)[[0, 1, 1, 1]]
    batch = Batch({"attention_mask": torch.ones(4, 2)}, {"class_ids": torch.tensor([0, 0, 1, 1])}, torch.arange(4))
    batch.windows = examples
    evaluation.update(logits, batch)
    result = evaluation.compute()
    assert result.scores["accuracy"] == 75
    assert result.scores["macro_f1"] == pytest.approx(100 * (2 / 3 + 4 / 5) / 2, rel=1e-6)
    assert result.predictions == {"x:0": "a", "x:1": "b", "x:2": "b", "x:3": "b"}
    assert result.outcomes["x:1"] == {"accuracy": 0.0}
    assert result.breakdowns == {"label": {"a": ["x:0", "x:1"], "b": ["x:2", "x:3"]}}
