"""Training windows of the tiny questions, and the tiny teacher that sees them."""

from __future__ import annotations

import pytest
import torch

from distill.data.datamodule import SquadDataModule
from distill.data.labelled import LabelledDataModule
from distill.data.windows import WindowDataset
from distill.models.loading import load_frozen
from distill.tasks.classification.task import SequenceClassification
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


@pytest.fixture
def pairs(teacher_folder, tmp_path) -> WindowDataset:
    """Pairs of texts of several lengths."""
    file = tmp_path / "pairs.tsv"
    lines = [f"{'la casa es roja ' * (i % 4 + 1)}\t{'roja es ' * (i % 3 + 1)}\t{i % 2}" for i in range(23)]
    file.write_text("\n".join(["sentence1\tsentence2\tlabel", *lines]), encoding="utf-8")
    data = LabelledDataModule(
        SequenceClassification(),
        str(teacher_folder),
        train_files=[str(file)],
        validation_files=[str(file)],
        cache_dir=str(tmp_path / "cache"),
    )
    data.setup("fit")
    return data.train_dataloader().dataset


@pytest.fixture
def pairs_teacher(teacher_folder) -> ModelSource:
    """A teacher that scores each pair as a whole, by random weights that are large enough to tell pairs apart."""
    task = SequenceClassification()
    model = task.load_model(str(teacher_folder)).eval().requires_grad_(False)
    generator = torch.Generator().manual_seed(3)
    for parameter in model.parameters():
        parameter += 0.3 * torch.randn(parameter.shape, generator=generator)
    return ModelSource(model, task)
