"""The teachers for entities and pairs score what their cards say, from the files that the package carries."""

from __future__ import annotations

import pytest
import torch

from distill.data.labelled import LabelledDataModule
from distill.models.loading import load_frozen, load_tokenizer
from distill.tasks.classification import SequenceClassification
from distill.tasks.tagging import TokenClassification


@pytest.mark.parametrize(
    ("source", "task", "expected"),
    [("embedded_ner", TokenClassification(), 91.38), ("embedded_pairs", SequenceClassification(), 86.25)],
)
def test_embedded_teacher_scores_what_its_card_says(source, task, expected, tmp_path):
    data = LabelledDataModule(task, source, cache_dir=str(tmp_path))
    data.setup("validate")
    model, loader = load_frozen(task, source), data.val_dataloader()
    evaluation = task.evaluation(loader.dataset.examples)
    with torch.inference_mode():
        for batch in loader:
            evaluation.update(task.logits(model(**batch.inputs)), batch)
    assert evaluation.compute().scores[task.main_score.name] == pytest.approx(expected, abs=0.3)
    assert load_tokenizer(source).get_vocab() == load_tokenizer("embedded").get_vocab()
