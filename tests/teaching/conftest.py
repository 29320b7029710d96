"""Training windows of the tiny questions, and the tiny teacher that sees them."""

from __future__ import annotations

import pytest

from distill.data.datamodule import SquadDataModule
from distill.data.windows import WindowDataset
from distill.models.loading import load_frozen
from distill.tasks.question_answering.task import QuestionAnswering
from distill.teaching.sources import ModelSource


@pytest.fixture
def settings(squad_file, teacher_folder, tmp_path) -> dict:
    return {
        "tokenizer": str(teacher_folder),
        "train_files": [str(squad_file)],
        "validation_files": [str(squad_file)],
        "max_length": 64,
        "doc_stride": 8,
        "max_question_length": 24,
        "cache_dir": str(tmp_path / "cache"),
    }


def training_windows(settings: dict) -> WindowDataset:
    """Return the training windows that a data module makes."""
    data = SquadDataModule(**settings)
    data.setup("fit")
    return data.train_dataloader().dataset


@pytest.fixture
def windows(settings) -> WindowDataset:
    return training_windows(settings)


@pytest.fixture
def task() -> QuestionAnswering:
    return QuestionAnswering()


@pytest.fixture
def teacher(task, teacher_folder) -> ModelSource:
    return ModelSource(load_frozen(task, str(teacher_folder)), task)
