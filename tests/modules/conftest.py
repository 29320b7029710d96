"""A tiny text beside the tiny questions."""

from __future__ import annotations

from functools import partial

import pytest

from distill.data.text import TextDataModule
from tests.conftest import squad_document


@pytest.fixture
def make_text(tmp_path, teacher_folder):
    """Make a data module of twelve short documents in blocks of 32 tokens."""
    file = tmp_path / "texto.txt"
    contexts = [paragraph["context"] for paragraph in squad_document(12)["data"][0]["paragraphs"]]
    file.write_text("\n\n\n".join(contexts), encoding="utf-8")
    return partial(
        TextDataModule,
        tokenizer=str(teacher_folder),
        train_files=[str(file)],
        validation_files=[str(file)],
        block_length=32,
        batch_size=6,
        deduplicate=False,
        cache_dir=str(tmp_path / "cache"),
    )
