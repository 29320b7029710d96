"""A data module for the tiny text, and those of several tasks."""

from __future__ import annotations

import json
from functools import partial

import pytest

from distill.data.datamodule import SquadDataModule
from distill.data.text import TextDataModule
from tests.conftest import squad_document


@pytest.fixture
def make_text(tmp_path, text_file, teacher_folder):
    """Make a data module of the tiny text in blocks of 32 tokens."""
    return partial(
        TextDataModule,
        tokenizer=str(teacher_folder),
        train_files=[str(text_file)],
        validation_files=[str(text_file.with_name("otro.txt"))],
        block_length=32,
        batch_size=6,
        deduplicate=False,
        cache_dir=str(tmp_path / "cache"),
    )


def questions(folder, name: str, num_paragraphs: int) -> str:
    file = folder / f"{name}.json"
    file.write_text(json.dumps(squad_document(num_paragraphs, prefix=name), ensure_ascii=False), encoding="utf-8")
    return str(file)


@pytest.fixture
def parts(tmp_path):
    """The data of three tasks of different sizes, by name."""

    def part(name: str, num_paragraphs: int) -> SquadDataModule:
        file = questions(tmp_path, name, num_paragraphs)
        return SquadDataModule(
            train_files=[file],
            validation_files=[file],
            max_length=64,
            doc_stride=8,
            max_question_length=24,
            batch_size=6,
            cache_dir=str(tmp_path / "cache"),
        )

    return {"many": part("many", 8), "few": part("few", 2), "labelled": part("labelled", 3)}
