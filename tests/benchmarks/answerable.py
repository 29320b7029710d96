"""Whether "no answer" is an answer, which a comparison has to settle alike for all of its arms."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from distill.tasks.question_answering.reading import read_examples


def task_for(test_files: Sequence[str]) -> dict[str, Any]:
    """Return settings of a task that leaves a question open only where some test question has no answer.

    Under the threshold for such questions weak models give up on most of the others; without it they cannot get one of
    them right. Recipes differ in this by the set that they were published for.
    """
    examples, _ = read_examples(test_files)
    threshold = 0.0 if any(example.is_impossible for example in examples) else None
    return {"class_path": "distill.QuestionAnswering", "init_args": {"null_threshold": threshold}}
