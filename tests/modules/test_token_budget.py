"""Batches by tokens and gradients accumulated over them, against one padded batch of everything."""

import json

import lightning as L
import pytest
import torch
from lightning.pytorch import Trainer

from distill.callbacks.stages import StageSchedule
from distill.data.datamodule import SquadDataModule
from distill.losses.relations import RelationLoss
from distill.losses.repetition import RepetitionLoss
from distill.models.student import Student
from distill.modules.distillation import DistillationModule, default_losses
from distill.stages import Stage
from tests.conftest import squad_document

ALL = {
    "attention": 1.0,
    "hidden": 1.0,
    "embeddings": 1.0,
    "relations": 1.0,
    "repetition": 1.0,
    "logits": 1.0,
    "labels": 1.0,
}
MAX_TOKENS = 192


class Gradients(L.Callback):
    """Keeps the gradients of every step."""

    def __init__(self) -> None:
        self.steps: list[dict[str, torch.Tensor]] = []
        #: Windows of every step.
        self.windows: list[int] = []
        self._windows = 0

    def on_fit_start(self, trainer, pl_module) -> None:
        pl_module.teacher.double()

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx) -> None:
        self._windows += len(batch.window_ids)

    def on_before_optimizer_step(self, trainer, pl_module, optimizer) -> None:
        self.steps.append({name: p.grad.clone() for name, p in pl_module.named_parameters() if p.grad is not None})
        self.windows.append(self._windows)
        self._windows = 0


@pytest.fixture
def questions(tmp_path):
    """Questions whose windows have many or few tokens, so of several widths."""
    document = squad_document(8)
    for paragraph in document["data"][0]["paragraphs"][::3]:
        paragraph["context"] += " Nada más se supo de su larga vida ni de la de los suyos, salvo que volvió."
    file = tmp_path / "questions.json"
    file.write_text(json.dumps(document, ensure_ascii=False), encoding="utf-8")
    return file


def gradients(teacher_folder, questions, folder, weights, batches_per_step=1, **batches):
    """Return the gradients of every step of an epoch, from the same weights: nothing is learned."""
    torch.manual_seed(5)
    losses = {**default_losses(), "relations": RelationLoss(num_relation_heads=2), "repetition": RepetitionLoss(1, 1)}
    student = Student(num_layers=2, hidden_size=8, num_heads=2, intermediate_size=16, dropout=0.0)
    module = DistillationModule(str(teacher_folder), student, losses=losses, teacher_cache=None)
    data = SquadDataModule(
        tokenizer=str(teacher_folder),
        train_files=[str(questions)],
        validation_files=[str(questions)],
        max_length=128,
        doc_stride=8,
        max_question_length=24,
        cache_dir=str(folder / "cache"),
        **batches,
    )
    kept = Gradients()
    trainer = Trainer(
        default_root_dir=folder,
        accelerator="cpu",
        precision="64-true",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
        limit_val_batches=0,
        use_distributed_sampler=False,
        max_epochs=-1,
        accumulate_grad_batches=batches_per_step,
        callbacks=[StageSchedule({"all": Stage(weights, epochs=1, learning_rate=1e-30)}), kept],
    )
    trainer.fit(module, data)
    assert len(set(data._windows["train"].widths)) > 1 or "pad_to_max_length" in batches
    return kept, len(data.train_dataloader())


@pytest.fixture
def padded(teacher_folder, questions, tmp_path):
    """The gradients of one batch that holds every window, padded to one length."""

    def compute(weights):
        kept, _ = gradients(teacher_folder, questions, tmp_path, weights, batch_size=1000, pad_to_max_length=True)
        (step,) = kept.steps
        return step

    return compute


def weighted_sum(steps, weights):
    return {name: sum(w * step[name] for w, step in zip(weights, steps, strict=True)) for name in steps[0]}


def assert_same(got, expected):
    assert got.keys() == expected.keys()
    for name, gradient in expected.items():
        torch.testing.assert_close(got[name], gradient, rtol=1e-10, atol=1e-14, msg=lambda text, name=name: name + text)


@pytest.mark.parametrize("batches", [{"max_tokens": MAX_TOKENS}, {"batch_size": 5}])
def test_gradients_accumulated_over_an_epoch_are_those_of_one_padded_batch(
    teacher_folder, questions, tmp_path, padded, batches
):
    _, number = gradients(teacher_folder, questions, tmp_path, ALL, **batches)
    kept, _ = gradients(teacher_folder, questions, tmp_path, ALL, batches_per_step=number, **batches)
    (step,) = kept.steps
    assert number > 4
    assert_same(step, padded(ALL))


def test_steps_of_one_batch_by_tokens_add_up_to_the_padded_batch(teacher_folder, questions, tmp_path, padded):
    kept, number = gradients(teacher_folder, questions, tmp_path, ALL, max_tokens=MAX_TOKENS)
    assert len(kept.steps) == number > 4
    assert_same(weighted_sum(kept.steps, [1 / number] * number), padded(ALL))


def test_last_step_of_an_epoch_counts_by_its_batches_of_tokens(teacher_folder, questions, tmp_path, padded):
    kept, number = gradients(teacher_folder, questions, tmp_path, ALL, batches_per_step=4, max_tokens=MAX_TOKENS)
    assert number % 4
    assert_same(weighted_sum(kept.steps, [4 / number] * len(kept.steps)), padded(ALL))


def test_last_step_of_an_epoch_is_one_batch_of_its_windows(teacher_folder, questions, tmp_path, padded):
    weights = {"logits": 1.0, "labels": 0.5}
    kept, number = gradients(teacher_folder, questions, tmp_path, weights, batches_per_step=4, batch_size=5)
    assert number % 4
    shares = [windows / sum(kept.windows) for windows in kept.windows]
    assert_same(weighted_sum(kept.steps, shares), padded(weights))


def test_epoch_that_is_cut_short_ends_its_last_step(teacher_folder, questions, tmp_path):
    data = SquadDataModule(
        tokenizer=str(teacher_folder), train_files=[str(questions)], validation_files=[str(questions)],
        max_length=128, doc_stride=8, max_question_length=24, batch_size=4, cache_dir=str(tmp_path / "cache"),
    )  # fmt: skip
    data.setup("fit")
    loader = data.train_dataloader()
    loader.num_batches, loader.batches_per_step = 5, 3
    batches = list(loader)
    assert [len(batch.others) for batch in batches] == [2, 2, 2, 1, 1, 0, 0, 0]
    assert [batch.weight for batch in batches[:5]] == [1.0, 1.0, 1.0, 1.5, 1.5]
    # Resumed within a step, its rest weighs what it would have.
    loader.load_state_dict({"epoch": 0, "num_batches": 4})
    assert next(iter(loader)).weight == 1.5
