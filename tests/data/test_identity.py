"""A run that goes on notices when its training data is no longer what it was."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from distill.data.base import TaskDataModule
from distill.data.datamodule import SquadDataModule
from distill.data.identity import Identity, check_unchanged
from distill.data.multitask import MultiTaskDataModule
from distill.data.staged import StagedDataModule
from distill.data.text import TextDataModule
from distill.types import UserError
from tests.conftest import squad_document


@pytest.fixture
def make(tmp_path, teacher_folder):
    """Make data of one kind from ``texts/`` and ``questions.json``, as a new process would."""
    texts = tmp_path / "texts"
    texts.mkdir()
    (texts / "a.txt").write_text("Lucía nació en Cádiz.\n\n\nMateo vive en Jaén.", encoding="utf-8")
    (tmp_path / "dev.txt").write_text("Ana nació en Ávila.", encoding="utf-8")
    write_questions(tmp_path / "questions.json", 3)
    write_questions(tmp_path / "dev.json", 1)
    common = {"tokenizer": str(teacher_folder), "cache_dir": str(tmp_path / "cache"), "batch_size": 2}

    def text() -> TextDataModule:
        files = {"train_files": str(texts), "validation_files": str(tmp_path / "dev.txt")}
        return TextDataModule(**files, **common, block_length=8)

    def questions() -> SquadDataModule:
        files = {"train_files": str(tmp_path / "questions.json"), "validation_files": str(tmp_path / "dev.json")}
        return SquadDataModule(**files, **common, max_length=64, doc_stride=8, max_question_length=24)

    def build(kind: str) -> TaskDataModule:
        made = {
            "text": text,
            "questions": questions,
            "staged": lambda: StagedDataModule(questions(), {"novels": text()}, str(teacher_folder)),
            "several": lambda: MultiTaskDataModule({"answers": questions()}, tokenizer=str(teacher_folder)),
        }[kind]()
        made.setup("fit")
        return made

    return build


def write_questions(file: Path, num_paragraphs: int) -> None:
    file.write_text(json.dumps(squad_document(num_paragraphs), ensure_ascii=False), encoding="utf-8")


def add_text(folder: Path) -> None:
    (folder / "texts" / "new.txt").write_text("Pedro nació en Lérida y vive en Vigo.", encoding="utf-8")


def change_question(folder: Path) -> None:
    file = folder / "questions.json"
    file.write_text(file.read_text(encoding="utf-8").replace("¿Cuándo murió", "¿Cuándo nació"), encoding="utf-8")


@pytest.mark.parametrize(
    ("kind", "change", "message"),
    [
        ("text", add_text, r"^data: the training data has changed .* items of a\.txt, new\.txt, and held \d+ items of"),
        ("questions", change_question, r"^data: .*it holds [0-9]+ items of questions\.json"),
        ("staged", add_text, r"^data\.others\.novels: "),
        ("staged", change_question, r"^data\.main: "),
        ("several", change_question, r"^data\.tasks\.answers: "),
    ],
)
def test_changed_data_is_named_with_where_it_stands(make, tmp_path, kind, change, message):
    state = make(kind).state_dict()
    assert json.loads(json.dumps(state)) == state
    make(kind).load_state_dict(state)
    change(tmp_path)
    with pytest.raises(UserError, match=message):
        make(kind).load_state_dict(state)


def test_other_names_other_validation_and_other_batches_are_no_change(make, tmp_path):
    state = make("text").state_dict()
    (tmp_path / "texts" / "a.txt").rename(tmp_path / "texts" / "b.txt")
    (tmp_path / "dev.txt").write_text("Eva nació en Soria.", encoding="utf-8")
    make("text").load_state_dict(state)


def test_what_is_only_scored_is_not_compared(make, tmp_path):
    state = make("text").state_dict()
    add_text(tmp_path)
    data = make("text")
    data._blocks.pop("train")  # as validate and test leave it
    data.load_state_dict(state)


def test_data_that_came_later_is_not_compared():
    novels = Identity(source="a.txt", fingerprint="1", items=2)
    check_unchanged({}, {"data.others.novels": novels})
    check_unchanged({"data.others.novels": novels}, {})


def test_other_contents_of_the_same_size_are_told():
    old, new = (Identity(source="a.txt", fingerprint=mark, items=2) for mark in "12")
    with pytest.raises(UserError, match=r"it holds 2 items of a\.txt, as then, but others"):
        check_unchanged({"data": old}, {"data": new})


def test_epochs_of_another_length_are_said_and_allowed(make):
    data = make("questions")
    state = data.train_dataloader().state_dict()
    with pytest.warns(UserWarning, match="had 6 batches when the checkpoint was written and has 3 now"):
        halved(data).load_state_dict(state)


@pytest.mark.filterwarnings("error")
def test_same_data_and_checkpoints_from_before_go_on_without_a_word(make):
    loader = make("questions").train_dataloader()
    loader.load_state_dict({"epoch": 1, "num_batches": 2})
    loader.load_state_dict(loader.state_dict())


def halved(data: TaskDataModule):
    """Return the training batches of the first of two processes."""

    class FakeTrainer:
        global_rank, world_size = 0, 2
        strategy = SimpleNamespace(root_device=torch.device("cpu"))

    data.trainer = FakeTrainer()
    return data.train_dataloader()
