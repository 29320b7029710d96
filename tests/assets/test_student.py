"""The embedded student scores what its card says, from the files that the package carries."""

from __future__ import annotations

import pytest
import torch

from distill.data.datamodule import SquadDataModule
from distill.models.loading import EMBEDDED, EMBEDDED_STUDENT, load_frozen, load_tokenizer
from distill.tasks.question_answering.task import QuestionAnswering


def test_embedded_student_scores_what_its_card_says(tmp_path):
    data = SquadDataModule(cache_dir=str(tmp_path))
    data.setup("validate")
    task, loader = QuestionAnswering(), data.val_dataloader()
    student, evaluation = load_frozen(task, EMBEDDED_STUDENT), task.evaluation(loader.dataset.examples)
    with torch.inference_mode():
        for batch in loader:
            evaluation.update(task.logits(student(**batch.inputs)), batch)
    scores = evaluation.compute().scores
    assert (scores["f1"], scores["exact_match"]) == pytest.approx((89.06, 87.43), abs=0.1)
    assert load_tokenizer(EMBEDDED_STUDENT).get_vocab() == load_tokenizer(EMBEDDED).get_vocab()
