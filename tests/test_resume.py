"""A run that is stopped anywhere and resumed ends with the same weights, bit for bit, as one that was not."""

from __future__ import annotations

from pathlib import Path

import lightning as L
import pytest
import torch

from distill.callbacks.checkpoints import BestInFinalStage, LastCheckpoint
from distill.callbacks.plugins import SafeCheckpointIO
from distill.callbacks.random_state import RandomState
from distill.callbacks.stages import StageSchedule
from distill.data.datamodule import SquadDataModule
from distill.models.student import Student
from distill.modules.distillation import DistillationModule
from distill.stages import Stage
from tests.killed import KillAt, KilledError

STAGES = {
    "intermediate": Stage({"attention": 1.0, "hidden": 1.0}, epochs=1.5, learning_rate=1e-2, balance=3),
    "logits": Stage({"logits": 1.0, "labels": 0.5}, epochs=1.5, learning_rate=1e-2),
}


@pytest.fixture
def fit(squad_file, teacher_folder, tmp_path):
    def run(
        name: str, *callbacks, ckpt_path=None, every_n_steps=1, workers=0, max_tokens=None, **settings
    ) -> DistillationModule:
        torch.manual_seed(5)
        data = SquadDataModule(
            tokenizer=str(teacher_folder), train_files=[str(squad_file)], validation_files=[str(squad_file)],
            max_length=64, doc_stride=8, max_question_length=24, batch_size=2, cache_dir=str(tmp_path / "cache"),
            num_workers=workers, max_tokens=max_tokens,
        )  # fmt: skip
        sizes = {"num_layers": 2, "hidden_size": 8, "num_heads": 2, "intermediate_size": 16}
        module = DistillationModule(str(teacher_folder), Student(**sizes, dropout=0.2))
        keeping = [BestInFinalStage(), LastCheckpoint(every_n_steps=every_n_steps)]
        trainer = L.Trainer(
            default_root_dir=tmp_path / name, accelerator="cpu", logger=False, enable_progress_bar=False,
            enable_model_summary=False, num_sanity_val_steps=0, use_distributed_sampler=False, max_epochs=-1,
            plugins=[SafeCheckpointIO()], callbacks=[StageSchedule(STAGES), RandomState(), *keeping, *callbacks],
            **settings,
        )  # fmt: skip
        trainer.fit(module, data, ckpt_path=ckpt_path)
        return module

    return run


def last(folder: Path) -> Path:
    return folder / "checkpoints" / "last.ckpt"


def equal(one: DistillationModule, other: DistillationModule) -> bool:
    states = one.state_dict(), other.state_dict()
    return states[0].keys() == states[1].keys() and all(torch.equal(states[0][k], states[1][k]) for k in states[0])


def killed_and_resumed(fit, tmp_path, step, **settings) -> DistillationModule:
    name = f"killed-{step}"
    with pytest.raises(KilledError):
        fit(name, KillAt(step), **settings)
    checkpoint = torch.load(last(tmp_path / name), weights_only=True)
    assert step - settings.get("every_n_steps", 1) <= checkpoint["global_step"] <= step
    torch.rand(step)  # what another process would have drawn by now
    return fit(name, ckpt_path=last(tmp_path / name), **settings)


def test_the_runs_here_draw_random_numbers(fit):
    whole = fit("whole")
    assert whole.student.config.hidden_dropout_prob == 0.2
    assert whole.trainer.datamodule.length_multiple == 8
    assert not equal(whole, fit("other", Draw()))


class Draw(L.Callback):
    def on_train_start(self, trainer, pl_module) -> None:
        torch.rand(1)


@pytest.mark.parametrize(
    ("settings", "steps"),
    [
        # Within either stage, at their switch (16) and at an epoch's end (11).
        ({}, (1, 11, 15, 16, 19)),
        ({"every_n_steps": 4}, (7, 15)),
        ({"accumulate_grad_batches": 2}, (3, 6)),
        ({"val_check_interval": 2}, (8, 15)),
        ({"val_check_interval": 3, "accumulate_grad_batches": 2}, (4,)),
        ({"limit_train_batches": 5}, (5, 7)),
        ({"check_val_every_n_epoch": 2}, (11, 15, 16)),
        ({"limit_val_batches": 0}, (11, 12)),
        ({"workers": 2}, (4, 11)),
        ({"max_tokens": 128, "every_n_steps": 4}, (7,)),
    ],
    ids=str,
)
def test_killed_within_any_step_and_resumed(fit, tmp_path, settings, steps):
    whole = fit("whole", **settings)
    best = whole.trainer.checkpoint_callbacks[0].best_model_score
    for step in steps:
        resumed = killed_and_resumed(fit, tmp_path, step, **settings)
        assert resumed.trainer.global_step == whole.trainer.global_step
        assert equal(whole, resumed), step
        assert resumed.trainer.checkpoint_callbacks[0].best_model_score == best


def test_from_the_best_checkpoint(fit, tmp_path):
    whole = fit("whole")
    best = tmp_path / "whole" / "checkpoints" / "best.ckpt"
    assert equal(whole, fit("resumed", ckpt_path=best))
