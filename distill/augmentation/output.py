"""Made questions as a SQuAD v2.0 file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import groupby
from pathlib import Path
from typing import Any

from distill.files import write_json
from distill.types import Example


def write_squad(path: Path, articles: Mapping[str, Iterable[Example]]) -> None:
    """Write examples by the title of their article; those about the same context in a row share a paragraph."""
    data = [{"title": title, "paragraphs": _paragraphs(examples)} for title, examples in articles.items()]
    write_json(path, {"version": "v2.0", "data": data})


def _paragraphs(examples: Iterable[Example]) -> list[dict[str, Any]]:
    return [
        {"context": context, "qas": [_question(example) for example in group]}
        for context, group in groupby(examples, key=lambda example: example.context)
    ]


def _question(example: Example) -> dict[str, Any]:
    return {
        "id": example.question_id,
        "question": example.question,
        "answers": [{"text": answer.text, "answer_start": answer.start_char} for answer in example.answers],
        "is_impossible": example.is_impossible,
        "tags": list(example.tags),
    }
