"""An answerer with the tiny model, and one with the embedded teacher."""

from __future__ import annotations

from importlib import resources

import datasets
import pytest
import torch

from distill.answering.answerer import QuestionAnswerer
from distill.data.windows import WindowDataset, WindowPadder
from distill.tasks.question_answering.reading import read_examples
from distill.tasks.question_answering.windows import build_windows
from distill.types import Example

CONTEXT = "Lucía Ferrer nació en Cádiz en 1900. En cambio, Mateo Güell nació en Lérida."


@pytest.fixture(scope="session")
def tiny(teacher_folder) -> QuestionAnswerer:
    """The tiny model, whose answers mean nothing but are always the same."""
    return QuestionAnswerer.from_pretrained(str(teacher_folder), no_answer_threshold=None)


@pytest.fixture(scope="session")
def teacher() -> QuestionAnswerer:
    """The embedded teacher, at the settings of evaluation."""
    return QuestionAnswerer.from_pretrained("embedded")


@pytest.fixture(scope="session")
def dev_sample() -> list[Example]:
    """A hundred questions of the embedded dev set, of all its subjects."""
    with resources.as_file(resources.files("distill.assets") / "qa_es" / "dev.json") as file:
        examples, _ = read_examples([file])
    return examples[:: len(examples) // 100]


@pytest.fixture
def make_evaluation(tokenizer):
    """Return a function that answers examples as evaluation does, over windows on disk."""

    def evaluate(model, examples, settings, task) -> list[str]:
        lengths = settings.max_length, settings.doc_stride, settings.max_question_length
        table = datasets.Dataset.from_dict(build_windows(examples, tokenizer, *lengths))
        windows = WindowDataset(
            table, examples, WindowPadder(tokenizer, settings.max_length), settings.max_length, True, "none"
        )
        evaluation = task.evaluation(examples)
        with torch.no_grad():
            for window_id in range(len(windows)):
                batch = windows[[window_id]]
                evaluation.update(task.logits(model(**batch.inputs)), batch)
        return list(evaluation.compute().predictions.values())

    return evaluate
