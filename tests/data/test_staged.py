"""Stages that read different data in one run: which batch comes when, and again after a resume."""

from __future__ import annotations

import json
from itertools import islice

import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from torch.utils.data import DataLoader, Sampler

from distill.callbacks.stages import StageSchedule
from distill.data.datamodule import SquadDataModule
from distill.data.staged import StagedDataModule
from distill.data.text import TextDataModule
from distill.data.training import Segment, TrainingLoader, segments
from distill.models.student import Student
from distill.modules.distillation import DistillationModule
from distill.stages import Stage, StagePlan
from distill.teaching.teachers import TeacherCache
from distill.types import UserError
from tests.callbacks.fakes import tiny_trainer
from tests.conftest import squad_document

LAYERS = {"hidden": 1.0}


class Passes(Sampler):
    """Yields name, epoch and position, so that a batch says where it comes from."""

    def __init__(self, name: str, length: int) -> None:
        self.name, self.length, self.epoch, self.start = name, length, 0, 0

    def set_epoch(self, epoch: int, start: int = 0) -> None:
        self.epoch, self.start = epoch, start

    def __len__(self) -> int:
        return self.length

    def __iter__(self):
        return iter([f"{self.name} {self.epoch} {position}" for position in range(self.start, self.length)])


class Itself(torch.utils.data.Dataset):
    def __getitem__(self, item):
        return item


def loader(name: str, length: int) -> DataLoader:
    return DataLoader(Itself(), sampler=Passes(name, length), batch_size=None)


def staged(plan: StagePlan, batches_per_step: int = 1) -> TrainingLoader:
    result = TrainingLoader(loader("main", 3), {"text": loader("text", 2)})
    result.segments = segments(plan, len(result), batches_per_step)
    return result


def epochs(loader: TrainingLoader, first: int, last: int) -> list:
    batches = []
    for epoch in range(first, last):
        loader.sampler.set_epoch(epoch)
        batches += list(loader)
    return batches


PLAN = StagePlan(
    {
        "general": Stage(LAYERS, steps=5, data="text"),
        "intermediate": Stage(LAYERS, steps=2),
        "again": Stage(LAYERS, steps=2, data="text"),
        "logits": Stage({"logits": 1.0}, epochs=1),
    },
    steps_per_epoch=3,
)


def test_segments_by_hand():
    assert segments(PLAN, 3, 1) == [
        Segment("text", 0, 5, 0), Segment(None, 5, 7, 0), Segment("text", 7, 9, 5), Segment(None, 9, None, 2)
    ]  # fmt: skip


def test_segments_where_the_last_step_of_an_epoch_takes_fewer_batches():
    # Epochs of 5 batches are steps of 2, 2 and 1 batches.
    plan = StagePlan({"general": Stage(LAYERS, steps=4, data="text"), "logits": Stage(LAYERS, steps=3)}, 3)
    assert segments(plan, 5, 2) == [Segment("text", 0, 7, 0), Segment(None, 7, None, 0)]


def test_batches_come_from_the_stages_data_and_each_data_goes_through_its_passes():
    batches = epochs(staged(PLAN), 0, 5)
    assert batches[:5] == ["text 0 0", "text 0 1", "text 1 0", "text 1 1", "text 2 0"]
    assert batches[5:7] == ["main 0 0", "main 0 1"]
    assert batches[7:9] == ["text 2 1", "text 3 0"]
    assert batches[9:] == [f"main {n // 3} {n % 3}" for n in range(2, 8)]


@pytest.mark.parametrize("num_done", range(12))
def test_a_loader_that_is_resumed_anywhere_goes_on_as_the_other_would_have(num_done):
    whole = epochs(staged(PLAN), 0, 5)
    first = staged(PLAN)
    for epoch in range(num_done // 3):
        epochs(first, epoch, epoch + 1)
    first.sampler.set_epoch(num_done // 3)
    done = list(islice(first, num_done % 3))
    resumed = staged(PLAN)
    if done:
        resumed.load_state_dict(first.state_dict())
    assert epochs(resumed, num_done // 3, 5) == whole[num_done:]


def test_checkpoint_of_an_epochs_end_leaves_the_next_epoch_whole():
    first = staged(PLAN)
    whole = epochs(first, 0, 2)
    resumed = staged(PLAN)
    epochs(first := staged(PLAN), 0, 1)
    resumed.load_state_dict(first.state_dict())
    assert epochs(resumed, 1, 2) == whole[3:]


def test_passes_are_not_loaded_again_in_every_epoch(monkeypatch):
    seen = []
    monkeypatch.setattr(Itself, "__getitem__", lambda _, item: seen.append(item) or item)
    batches = epochs(staged(PLAN), 0, 5)
    assert seen == batches


@pytest.fixture
def make_data(squad_file, text_file, teacher_folder, tmp_path):
    def make(**settings) -> StagedDataModule:
        cache = str(tmp_path / "cache")
        main = SquadDataModule(
            train_files=[str(squad_file)], validation_files=[str(squad_file)], max_length=64, doc_stride=8,
            max_question_length=24, batch_size=6, cache_dir=cache,
        )  # fmt: skip
        text = TextDataModule(
            train_files=[str(text_file)], validation_files=[str(text_file.with_name("otro.txt"))], block_length=32,
            batch_size=3, deduplicate=False, cache_dir=cache,
        )  # fmt: skip
        return StagedDataModule(main, {"text": text}, tokenizer=str(teacher_folder), seed=3, **settings)

    return make


STAGES = {
    "general": Stage({"attention": 1.0, "hidden": 1.0}, steps=4, learning_rate=1e-3, data="text"),
    "intermediate": Stage({"attention": 1.0, "hidden": 1.0}, steps=3, learning_rate=1e-3),
    "logits": Stage({"logits": 1.0, "labels": 0.5}, steps=4, learning_rate=1e-3),
}


class Kinds(StageSchedule):
    """Also writes down what every stage was given."""

    def __init__(self, stages) -> None:
        super().__init__(stages)
        self.seen: dict[str, set] = {}

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx) -> None:
        super().on_train_batch_start(trainer, pl_module, batch, batch_idx)
        self.seen.setdefault(pl_module.active_stage.name, set()).update(batch.labels)


def fit(folder, teacher_folder, data, *callbacks, ckpt_path=None):
    torch.manual_seed(5)
    student = Student(num_layers=2, hidden_size=8, num_heads=2, dropout=0.0)
    module = DistillationModule(teacher=str(teacher_folder), student=student)
    schedule = Kinds(STAGES)
    settings = {"max_epochs": -1, "enable_checkpointing": bool(callbacks), "use_distributed_sampler": False}
    trainer = tiny_trainer(folder, [schedule, *callbacks], **settings)
    trainer.fit(module, data, ckpt_path=ckpt_path)
    return module, schedule


def test_one_run_goes_from_text_to_the_logits_of_the_task(teacher_folder, make_data, tmp_path):
    data = make_data()
    module, schedule = fit(tmp_path, teacher_folder, data)
    assert schedule.seen == {
        "general": {"token_ids"},
        "intermediate": {"start_positions", "end_positions"},
        "logits": {"start_positions", "end_positions"},
    }
    assert module.trainer.global_step == 11
    assert {"exact_match", "f1"} <= set(module.last_evaluation.scores)
    assert data.summary()["others"]["text"]["train"]["blocks"] > 3
    assert data.max_length == 64


def test_run_resumed_within_any_epoch_ends_as_the_uninterrupted_one(teacher_folder, make_data, tmp_path):
    every_step = ModelCheckpoint(tmp_path / "steps", filename="{step}", every_n_train_steps=1, save_top_k=-1)
    whole, schedule = fit(tmp_path, teacher_folder, make_data(), every_step)
    expected = whole.student.state_dict()
    # Within the first stage and the second, at a switch, and where an epoch ends.
    for step in {2, 4, 5, schedule.plan.steps_per_epoch}:
        checkpoint = tmp_path / "steps" / f"step={step}.ckpt"
        resumed, _ = fit(tmp_path / str(step), teacher_folder, make_data(), ckpt_path=checkpoint)
        assert resumed.trainer.global_step == 11
        for name, tensor in resumed.student.state_dict().items():
            assert torch.equal(expected[name], tensor), (step, name)


def test_other_questions_teach_logits_and_have_a_store_of_their_own(teacher_folder, make_data, tmp_path):
    """With the teacher and from stores, a run ends alike that learns from other questions before those of the task."""
    stages = {
        "made": Stage({"logits": 1.0, "labels": 0.5}, steps=8, learning_rate=1e-3, data="made"),
        "logits": Stage({"logits": 1.0, "labels": 0.5}, steps=4, learning_rate=1e-3),
    }
    ends = {}
    for cache in (None, TeacherCache(dtype="float32", folder=str(tmp_path / "stores"))):
        main = make_data().main
        made = SquadDataModule(
            dataset=None, train_files=[str(reversed_questions(tmp_path))], max_length=64,
            doc_stride=8, max_question_length=24, batch_size=3, cache_dir=str(tmp_path / "cache"),
        )  # fmt: skip
        data = StagedDataModule(main, {"made": made}, tokenizer=str(teacher_folder), seed=3)
        assert data.has_labels("made")
        torch.manual_seed(5)
        student = Student(num_layers=2, hidden_size=8, num_heads=2, dropout=0.0)
        module = DistillationModule(teacher=str(teacher_folder), student=student, teacher_cache=cache)
        settings = {"max_epochs": -1, "use_distributed_sampler": False}
        tiny_trainer(tmp_path / str(cache is None), [StageSchedule(stages)], **settings).fit(module, data)
        ends[cache is None] = module.student.state_dict()
    assert len(list((tmp_path / "stores").glob("logits-*.npy"))) == 2
    for name, tensor in ends[True].items():
        torch.testing.assert_close(ends[False][name], tensor, atol=1e-6, rtol=0, msg=name)


def reversed_questions(folder):
    """Write the tiny questions with other words."""
    document = squad_document()
    for paragraph in document["data"][0]["paragraphs"]:
        for question in paragraph["qas"]:
            question["question"] = " ".join(reversed(question["question"].split()))
    target = folder / "made.json"
    target.write_text(json.dumps(document), encoding="utf-8")
    return target


def test_parts_take_tokenizer_and_seed_of_the_whole(make_data, teacher_folder):
    data = make_data()
    assert {part.tokenizer_source for part in (data.main, data.others["text"])} == {str(teacher_folder)}
    assert {part.seed for part in (data.main, data.others["text"])} == {3}


def test_every_kind_of_data_takes_the_budget_and_the_workers_of_the_whole(make_data, teacher_folder):
    parts = make_data()
    data = StagedDataModule(parts.main, parts.others, str(teacher_folder), num_workers=2, max_tokens=96)
    assert {part.max_tokens for part in (data.main, *data.others.values())} == {96}
    assert {part.num_workers for part in (data, data.main, *data.others.values())} == {2}
    # The parts' own hold where the whole says nothing.
    data = StagedDataModule(data.main, data.others, str(teacher_folder))
    assert {part.max_tokens for part in (data.main, *data.others.values())} == {96}
    assert {part.num_workers for part in (data, data.main, *data.others.values())} == {2}
    with pytest.raises(UserError, match=r"data\.max_tokens is 16, which no window of 64 tokens"):
        StagedDataModule(data.main, data.others, max_tokens=16)


def test_other_data_is_needed(make_data):
    with pytest.raises(UserError, match="name the data that stages read"):
        StagedDataModule(make_data().main, {})


def test_stage_with_data_of_its_own_gives_its_length_in_steps():
    with pytest.raises(UserError, match="stage 'general': give its length as steps"):
        StageSchedule({"general": Stage(LAYERS, epochs=1, data="text")})


@pytest.mark.parametrize(("known", "message"), [(["novels"], "choose among novels"), ([], "give a StagedDataModule")])
def test_stage_that_names_unknown_data_is_refused(known, message):
    schedule = StageSchedule({"general": Stage(LAYERS, steps=1, data="text")})
    with pytest.raises(UserError, match=f"no data 'text'; {message}"):
        schedule.check(["hidden"], known)
