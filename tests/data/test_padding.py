"""How far a run's windows are padded, and that nothing but time depends on it."""

from __future__ import annotations

import json
from collections.abc import Iterator

import lightning as L
import numpy as np
import pytest
import torch

from distill.data.base import TaskDataModule
from distill.data.labelled import LabelledDataModule
from distill.data.multitask import MultiTaskDataModule
from distill.data.sampling import budget_batches
from distill.data.staged import StagedDataModule
from distill.losses.attention import AttentionLoss
from distill.losses.relations import RelationLoss
from distill.losses.repetition import RepetitionLoss
from distill.models.student import Student
from distill.modules.distillation import DistillationModule, default_losses
from distill.tasks.tagging import TokenClassification
from distill.types import Batch
from tests.conftest import squad_document

#: Precision of a run on a CPU to what its lengths are rounded up to a multiple of.
MULTIPLES = {"32-true": 8, "bf16-mixed": 32, "bf16-true": 32}


@pytest.fixture
def questions(make_questions, tmp_path):
    """Questions of many lengths."""
    document = squad_document(12)
    for i, paragraph in enumerate(document["data"][0]["paragraphs"]):
        paragraph["context"] += " Nada más se supo." * (i % 4)
    file = tmp_path / "lengths.json"
    file.write_text(json.dumps(document, ensure_ascii=False), encoding="utf-8")

    def make(**settings):
        return make_questions(train_files=[str(file)], validation_files=[str(file)], max_length=128, **settings)

    return make


@pytest.fixture
def tagged(teacher_folder, tmp_path):
    """Words with labels, in sentences of many lengths."""
    file = tmp_path / "words.conll"
    sentences = ["".join(["Lucía B-PER\n", "nació O\n" * (3 * i + 1)]) for i in range(12)]
    file.write_text("\n".join(sentences), encoding="utf-8")
    return LabelledDataModule(
        TokenClassification(["O", "B-PER"]), str(teacher_folder), train_files=[str(file)],
        validation_files=[str(file)], max_length=96, batch_size=2, eval_batch_size=2, cache_dir=str(tmp_path / "cache"),
    )  # fmt: skip


def opened(data: TaskDataModule, precision: str) -> TaskDataModule:
    """Return the data as a fit on a CPU would open it."""
    data.trainer = L.Trainer(accelerator="cpu", precision=precision, logger=False, enable_checkpointing=False)
    data.setup("fit")
    return data


def batches(data: TaskDataModule) -> Iterator[Batch]:
    """All batches that a fit would see of data of a task or several."""
    for loader in data.train_dataloader().loaders.values():
        yield from loader
    validation = data.val_dataloader()
    for loader in validation.values() if isinstance(validation, dict) else [validation]:
        yield from loader


@pytest.mark.parametrize("precision", MULTIPLES)
@pytest.mark.parametrize("kind", ["questions", "tagged", "tasks", "staged"])
def test_every_kind_of_data_is_padded_as_the_run_likes(questions, tagged, teacher_folder, kind, precision):
    folder = str(teacher_folder)
    data = {
        "questions": lambda: questions(batch_size=2, eval_batch_size=2),
        "tagged": lambda: tagged,
        "tasks": lambda: MultiTaskDataModule({"qa": questions(batch_size=2), "ner": tagged}, tokenizer=folder),
        "staged": lambda: StagedDataModule(questions(batch_size=2), {"more": questions()}, tokenizer=folder),
    }[kind]()
    multiple, widths = MULTIPLES[precision], set()
    for batch in batches(opened(data, precision)):
        longest, width = int(batch.attention_mask.sum(1).max()), batch.attention_mask.shape[1]
        assert width == -(-longest // multiple) * multiple
        widths.add(width)
    assert len(widths) > 1
    assert any(width % 32 for width in widths) == (multiple == 8)


def test_which_windows_form_a_batch_depends_on_no_padding_unless_tokens_are_counted(questions):
    fine, coarse = (
        [batch.window_ids.tolist() for batch in opened(questions(batch_size=4), precision).train_dataloader()]
        for precision in ("32-true", "bf16-mixed")
    )
    assert fine == coarse


@pytest.mark.parametrize("precision", MULTIPLES)
def test_a_budget_counts_the_padding_of_the_run(questions, precision):
    data = opened(questions(max_tokens=256), precision)
    seen = list(data.train_dataloader())
    lengths = data._windows["train"].lengths
    multiple = MULTIPLES[precision]
    expected = budget_batches(-(-lengths // multiple) * multiple, 256, data.seed, epoch=0)
    assert [batch.window_ids.tolist() for batch in seen] == [ids.tolist() for ids in expected]
    assert sorted(np.concatenate(expected).tolist()) == list(range(len(lengths)))
    assert all(batch.inputs["input_ids"].numel() <= 256 for batch in seen)


@pytest.mark.parametrize("target", ["scores", "probabilities"])
def test_loss_and_gradients_of_a_batch_do_not_depend_on_its_padding(target, questions, teacher_folder):
    weights = dict.fromkeys(("attention", "hidden", "embeddings", "relations", "repetition", "logits", "labels"), 1.0)
    more = {"relations": RelationLoss(num_relation_heads=2), "repetition": RepetitionLoss(1, 1)}
    losses = {**default_losses(), "attention": AttentionLoss(target), **more}
    student = Student(num_layers=2, hidden_size=8, num_heads=2, intermediate_size=16, dropout=0.0)
    module = DistillationModule(str(teacher_folder), student, losses=losses, teacher_cache=None)
    module.configure_model()
    module.double()  # and not the teacher
    widths, computed = [], []
    for precision in ("32-true", "bf16-mixed"):
        windows = opened(questions(), precision)._windows["train"]
        batch = windows[np.argsort(windows.lengths)[:5].tolist()]
        widths.append(batch.attention_mask.shape[1])
        shares = module.shares(batch, weights, temperature=2.0)
        module.zero_grad()
        torch.stack([share.loss for share in shares.values()]).sum().backward()
        values = {name: share.loss.detach() for name, share in shares.items()}
        computed.append(values | {name: p.grad.clone() for name, p in module.named_parameters() if p.grad is not None})
    assert widths[0] < widths[1]
    assert computed[0].keys() == computed[1].keys() > weights.keys()
    for name, value in computed[0].items():
        torch.testing.assert_close(computed[1][name], value, rtol=1e-10, atol=1e-14, msg=lambda text, n=name: n + text)
