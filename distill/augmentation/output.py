"""Made questions as a SQuAD v2.0 file."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby
from pathlib import Path
from typing import Any

from distill.files import write_json
from distill.types import Example


def write_squad(path: Path, title: str, examples: Iterable[Example]) -> None:
    """Write examples as one article; those about the same context in a row share a paragraph."""
    paragraphs = [
        {"context": context, "qas": [_question(example) for example in group]}
        for context, group in groupby(examples, key=lambda example: example.context)
    ]
    write_json(path, {"version": "v2.0", "data": [{"title": title, "paragraphs": paragraphs}]})


def _question(example: Example) -> dict[str, Any]:
    return {
        "id": example.question_id,
        "question": example.question,
        "answers": [{"text": answer.text, "answer_start": answer.start_char} for answer in example.answers],
        "is_impossible": example.is_impossible,
        "tags": list(example.tags),
    }
