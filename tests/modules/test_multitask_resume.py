"""Several tasks: runs that are interrupted, and what their checkpoints hold."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from distill.callbacks.checkpoints import LastCheckpoint
from distill.callbacks.random_state import RandomState
from distill.callbacks.stages import StageSchedule
from distill.checkpoints import load_checkpoint
from distill.data.multitask import MultiTaskDataModule
from distill.modules.multitask import MultiTaskModule
from tests.callbacks.fakes import tiny_trainer
from tests.killed import KillAt, KilledError
from tests.modules.several import STAGES, STUDENT, fit, make_module

ROOT = Path(__file__).parents[2]


@pytest.fixture
def data(parts, teacher_folder):
    return MultiTaskDataModule(parts, tokenizer=str(teacher_folder), seed=5)


def test_a_run_resumed_after_any_epoch_ends_as_the_uninterrupted_one(teacher_folder, data, parts, tmp_path):
    whole = make_module(teacher_folder)
    fit(whole, data, tmp_path / "whole")
    fit(make_module(teacher_folder), data, tmp_path / "parts", max_epochs=1)
    resumed = make_module(teacher_folder)
    checkpoint = tmp_path / "parts" / "checkpoints" / "last.ckpt"
    fit(resumed, data, tmp_path / "parts", ckpt_path=checkpoint)
    mine, other = whole.state_dict(), resumed.state_dict()
    assert mine.keys() == other.keys()
    assert all(torch.equal(mine[name], other[name]) for name in mine)


@pytest.mark.parametrize("step", [2, 9])
def test_a_run_killed_within_an_epoch_of_either_stage_and_resumed_ends_bit_for_bit_alike(
    teacher_folder, data, parts, tmp_path, step
):
    def run(folder, *callbacks, ckpt_path=None) -> MultiTaskModule:
        module = make_module(teacher_folder, student=replace(STUDENT, dropout=0.2))
        keeping = [RandomState(), LastCheckpoint(every_n_steps=1), *callbacks]
        settings = {"max_epochs": -1, "use_distributed_sampler": False, "enable_checkpointing": True}
        torch.manual_seed(3)
        trainer = tiny_trainer(folder, [StageSchedule(stages), *keeping], **settings)
        trainer.fit(module, data, ckpt_path=ckpt_path)
        return module

    stages = {name: replace(stage, balance=3) for name, stage in STAGES.items()}
    whole = run(tmp_path / "whole")
    assert whole.trainer.global_step > 10
    with pytest.raises(KilledError):
        run(tmp_path / "killed", KillAt(step))
    last = tmp_path / "killed" / "checkpoints" / "last.ckpt"
    saved = load_checkpoint(last)
    assert saved["global_step"] == step
    assert saved["loops"]["fit_loop"]["epoch_loop.batch_progress"]["current"]["ready"] > 0  # within an epoch
    torch.rand(step)  # what another process would have drawn by now
    resumed = run(tmp_path / "killed", ckpt_path=last)
    mine, other = whole.state_dict(), resumed.state_dict()
    assert mine.keys() == other.keys()
    assert all(torch.equal(mine[name], other[name]) for name in mine)


def test_checkpoints_hold_no_teacher_and_load_by_task(teacher_folder, data, tmp_path):
    module = make_module(teacher_folder)
    fit(module, data, tmp_path)
    path = tmp_path / "checkpoints" / "last.ckpt"
    checkpoint = torch.load(path, weights_only=True)
    assert not [name for name in checkpoint["state_dict"] if "teacher" in name]
    assert set(checkpoint["tasks"]) == {"many", "few", "labelled"}
    # The shared encoder's storage is written once, not once for each task.
    single = sum(p.numel() for p in module.members["many"].student.parameters()) * 4
    assert path.stat().st_size < 4 * single + 200_000
    fresh = make_module(teacher_folder)
    for member in fresh.members.values():
        member.student = member.student_settings.build(member.task, module.members["many"].student.config)
    fresh.load_student_weights(path)
    for name, member in fresh.members.items():
        assert all(
            torch.equal(value, module.members[name].student.state_dict()[key])
            for key, value in member.student.state_dict().items()
        )
