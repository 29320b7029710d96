"""A data module for the tiny text."""

from __future__ import annotations

from functools import partial

import pytest

from distill.data.text import TextDataModule


@pytest.fixture
def make_text(tmp_path, text_file, teacher_folder):
    """Make a data module of the tiny text in blocks of 32 tokens."""
    return partial(
        TextDataModule,
        tokenizer=str(teacher_folder),
        train_files=[str(text_file)],
        validation_files=[str(text_file)],
        block_length=32,
        batch_size=6,
        deduplicate=False,
        cache_dir=str(tmp_path / "cache"),
    )
