"""Distillation with and without stored logits: the same losses, batch for batch."""

import json
import os
import shutil
import signal
from contextlib import nullcontext
from dataclasses import replace

import lightning as L
import pytest
import torch
from lightning.pytorch import Trainer
from transformers import RobertaForQuestionAnswering

from distill.callbacks.checkpoints import LastCheckpoint
from distill.callbacks.signals import RunStopped, SignalStop
from distill.callbacks.stages import StageSchedule
from distill.checkpoints import load_checkpoint
from distill.data.datamodule import SquadDataModule
from distill.distributed.strategy import StagedDDP
from distill.files import write_json
from distill.losses.logits import LogitLoss
from distill.models.student import Student
from distill.modules.distillation import DistillationModule
from distill.stages import Stage
from distill.teaching.sources import LOGITS_ALONE, ModelSource
from distill.teaching.teachers import ExtraTeacher, TeacherCache
from distill.types import UserError

LOGITS = {"logits": Stage({"logits": 1.0, "labels": 0.5}, epochs=2, temperature=2.0)}


class Standing(torch.optim.SGD):
    """Runs forward and backward and moves nothing: a frozen student."""

    def step(self, closure=None):
        return closure() if closure is not None else None


class KilledError(Exception):
    pass


class Losses(L.Callback):
    """Notes the windows and the loss of every batch; ends the run within the step that follows ``kill_at`` steps."""

    def __init__(self, kill_at: int | None = None) -> None:
        self.seen: list[tuple[list[int], float]] = []
        self.kill_at = kill_at

    def on_before_optimizer_step(self, trainer, pl_module, optimizer) -> None:
        if trainer.global_step == self.kill_at:
            raise KilledError

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx) -> None:
        self.seen.append((batch.window_ids.tolist(), float(outputs["loss"])))


@pytest.fixture
def data(make_questions):
    return make_questions(batch_size=4)


def make_module(teacher_folder, cache, **settings) -> DistillationModule:
    torch.manual_seed(5)
    student = Student(num_layers=2, hidden_size=8, num_heads=2, intermediate_size=16, dropout=0.0)
    return DistillationModule(str(teacher_folder), student, optimizer=Standing, teacher_cache=cache, **settings)


def losses_of(
    module, data, folder, stages=LOGITS, ckpt_path=None, kill_at=None, more=(), **settings
) -> list[tuple[list[int], float]]:
    losses = Losses(kill_at)
    trainer = Trainer(
        default_root_dir=folder,
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
        callbacks=[StageSchedule(stages), LastCheckpoint(every_n_steps=1), losses, *more],
        **{"max_epochs": -1, **settings},
    )
    with pytest.raises(KilledError) if kill_at is not None else nullcontext():
        trainer.fit(module, data, ckpt_path=ckpt_path)
    return losses.seen


def stores(tmp_path) -> list[str]:
    return sorted(path.name for path in (tmp_path / "cache").glob("*logits*"))


def forbid(module, monkeypatch) -> None:
    module.configure_model()
    monkeypatch.setattr(module.teacher, "forward", lambda **_: pytest.fail("the teacher ran"))


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-6), ("float16", 1e-3)])
@pytest.mark.parametrize("kill_at", [12, 15], ids=["between epochs", "within an epoch"])
def test_losses_equal_those_without_stores_for_two_shuffled_epochs_and_across_a_resume(
    teacher_folder, data, tmp_path, dtype, tolerance, kill_at, monkeypatch
):
    """The second stage, of a student that stands still; the first one runs the teacher on either side."""
    stages = {"hidden": Stage({"hidden": 1.0}, epochs=1), **LOGITS}
    run = losses_of(make_module(teacher_folder, None), data, tmp_path / "run", stages)
    assert not stores(tmp_path)
    cache = TeacherCache(dtype=dtype)
    stored = losses_of(make_module(teacher_folder, cache), data, tmp_path / "stored", stages)
    assert len(stores(tmp_path)) == 1
    epoch = len(run) // 3
    assert [ids for ids, _ in run[epoch : 2 * epoch]] != [ids for ids, _ in run[2 * epoch :]]  # shuffled anew
    first = losses_of(make_module(teacher_folder, cache), data, tmp_path / "parts", stages, kill_at=kill_at)
    assert len(first) == kill_at > epoch
    second = make_module(teacher_folder, cache)
    forbid(second, monkeypatch)
    last = tmp_path / "parts" / "checkpoints" / "last.ckpt"
    resumed = losses_of(second, data, tmp_path / "parts", stages, ckpt_path=last)
    for expected, got in zip([*run, *run], [*stored, *first, *resumed], strict=True):
        assert got[0] == expected[0]
        assert got[1] == pytest.approx(expected[1], abs=tolerance, rel=0)


def test_stage_after_another_one_reads_what_an_earlier_run_stored(teacher_folder, data, tmp_path, monkeypatch):
    stages = {"hidden": Stage({"hidden": 1.0, "logits": 1.0}, steps=2), **LOGITS}
    losses_of(make_module(teacher_folder, TeacherCache()), data, tmp_path, stages)
    module = make_module(teacher_folder, TeacherCache())
    forbid(module, monkeypatch)
    assert losses_of(module, data, tmp_path)


def test_logits_stored_at_one_padding_teach_at_another(teacher_folder, data, tmp_path, monkeypatch):
    expected = losses_of(make_module(teacher_folder, None), data, tmp_path / "run")
    with monkeypatch.context() as coarse:
        coarse.setattr(SquadDataModule, "length_multiple", 48)
        losses_of(make_module(teacher_folder, TeacherCache(dtype="float32")), data, tmp_path / "coarse")
    module = make_module(teacher_folder, TeacherCache(dtype="float32"))
    forbid(module, monkeypatch)
    for (ids, loss), (other_ids, other) in zip(losses_of(module, data, tmp_path / "fine"), expected, strict=True):
        assert ids == other_ids
        assert loss == pytest.approx(other, abs=1e-6, rel=0)


def test_padding_that_counts_is_the_models_own(teacher_folder, data, tmp_path):
    losses = {"logits": LogitLoss(mask_padding=False)}
    stages = {"logits": Stage({"logits": 1.0}, epochs=1)}
    run, stored = (
        losses_of(make_module(teacher_folder, cache, losses=losses), data, tmp_path / str(cache), stages)
        for cache in (None, TeacherCache())
    )
    assert stored == run
    assert not stores(tmp_path)


@pytest.mark.parametrize("settings", [{"fast_dev_run": True}, {"limit_train_batches": 2}], ids=str)
def test_trial_of_some_batches_stores_nothing(teacher_folder, data, tmp_path, settings):
    stages = {"logits": Stage({"logits": 1.0}, epochs=1)}
    assert losses_of(make_module(teacher_folder, TeacherCache()), data, tmp_path, stages, **settings)
    assert not stores(tmp_path)


def test_windows_of_a_loader_without_fingerprint_are_not_stored(teacher_folder, data, tmp_path, monkeypatch):
    monkeypatch.setattr(data, "identities", dict)  # as a data module of one's own may leave it
    data.setup("fit")
    windows = data.train_dataloader().dataset
    del windows.fingerprint
    assert losses_of(make_module(teacher_folder, TeacherCache()), data, tmp_path)
    assert not stores(tmp_path)


def test_module_fits_again_on_other_windows(teacher_folder, data, tmp_path):
    module = make_module(teacher_folder, TeacherCache())
    losses_of(module, data, tmp_path)
    data.max_length = 60
    data._windows.clear()
    losses_of(module, data, tmp_path)
    assert len(stores(tmp_path)) == 2


def test_extra_teachers_are_stored_and_averaged(teacher_folder, data, tmp_path, teacher_config, tokenizer):
    torch.manual_seed(8)
    other = tmp_path / "other"
    RobertaForQuestionAnswering(teacher_config).save_pretrained(other)
    tokenizer.save_pretrained(other)
    extra = [ExtraTeacher(str(other), weight=0.5)]
    run, stored, alone = (
        losses_of(make_module(teacher_folder, cache, extra_teachers=teachers), data, tmp_path / str(index))
        for index, (cache, teachers) in enumerate([(None, extra), (TeacherCache("float32"), extra), (None, None)])
    )
    assert [loss for _, loss in stored] == pytest.approx([loss for _, loss in run], abs=1e-6, rel=1e-6)
    assert [loss for _, loss in stored] != pytest.approx([loss for _, loss in alone], abs=1e-6, rel=1e-6)
    assert len(stores(tmp_path)) == 2


def test_extra_teacher_with_another_tokenizer_or_shorter_limit_is_refused(teacher_folder, tmp_path, teacher_config):
    from distill.models.tokenizer import train_tokenizer

    other, short = tmp_path / "other", tmp_path / "short"
    shutil.copytree(teacher_folder, other)
    train_tokenizer(["un texto distinto", "otro texto más"], vocab_size=270).save_pretrained(other)
    shutil.copytree(teacher_folder, short)
    config = type(teacher_config).from_pretrained(teacher_folder)
    config.max_position_embeddings = 42
    config.save_pretrained(short)
    for folder, message in ((other, "other and teacher use different tokenizers"), (short, "40 positions")):
        module = make_module(teacher_folder, None, extra_teachers=[ExtraTeacher(str(folder))])
        with pytest.raises(UserError, match=message):
            module.check(max_length=64)


class Written(Losses):
    """Also writes what it noted, and what the balance saw, to a file of its process."""

    def __init__(self, folder) -> None:
        super().__init__()
        self.folder = folder

    def on_train_end(self, trainer, pl_module) -> None:
        seen = pl_module.balance.state_dict()["seen"].tolist()
        write_json(self.folder / f"{trainer.global_rank}.json", {"losses": self.seen, "balance": seen})


@pytest.mark.slow
def test_two_processes_share_one_store_and_one_balance(teacher_folder, data, tmp_path):
    results = []
    for cache in (None, TeacherCache("float32")):
        folder = tmp_path / str(cache)
        trainer = Trainer(
            default_root_dir=tmp_path,
            accelerator="cpu",
            devices=2,
            strategy=StagedDDP(start_method="spawn"),
            logger=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            enable_checkpointing=False,
            num_sanity_val_steps=0,
            use_distributed_sampler=False,
            max_epochs=-1,
            callbacks=[StageSchedule({"logits": replace(LOGITS["logits"], balance=3)}), Written(folder)],
        )
        trainer.fit(make_module(teacher_folder, cache), data)
        results.append([json.loads((folder / f"{rank}.json").read_text(encoding="utf-8")) for rank in range(2)])
    assert len(stores(tmp_path)) == 1
    run, stored = results
    for rank in range(2):
        for (run_ids, run_loss), (ids, loss) in zip(run[rank]["losses"], stored[rank]["losses"], strict=True):
            assert ids == run_ids
            assert loss == pytest.approx(run_loss, abs=1e-6, rel=1e-6)
    assert run[0]["losses"] != run[1]["losses"]
    assert stored[0]["balance"] == stored[1]["balance"]
    assert stored[0]["balance"][1] == [3.0, 3.0]  # three steps, each of both processes' values


def test_pass_of_the_teacher_is_broken_off_by_a_signal_and_nothing_is_lost(teacher_folder, data, tmp_path, monkeypatch):
    record = ModelSource.record

    def interrupted(self, batch, plan):
        if plan == LOGITS_ALONE and (tmp_path / "run" / "checkpoints" / "last.ckpt").exists():
            os.kill(os.getpid(), signal.SIGTERM)
        return record(self, batch, plan)

    stages = {"hidden": Stage({"hidden": 1.0}, steps=2), **LOGITS}
    monkeypatch.setattr(ModelSource, "record", interrupted)
    with pytest.raises(RunStopped, match="stopped by SIGTERM at step 2"):
        losses_of(make_module(teacher_folder, TeacherCache()), data, tmp_path / "run", stages, more=[SignalStop()])
    assert load_checkpoint(tmp_path / "run" / "checkpoints" / "last.ckpt")["global_step"] == 2
    assert not stores(tmp_path)
