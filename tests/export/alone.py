"""An export as its users load it, with transformers alone and with onnxruntime alone, against the student it is of.

    python -m tests.export.alone --student RUN/student --exported FOLDER --questions xquad_es.json

prints, for every format of the folder: the largest difference of a logit, the questions that are answered otherwise
with how far the student's best two answers are apart, and EM and F1. Nothing of the package computes or decodes here;
only its scores are used.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import onnxruntime
import torch
from rich.console import Console
from torch import Tensor
from transformers import AutoModelForQuestionAnswering, AutoTokenizer, PreTrainedTokenizerBase

from distill.entry import run_function
from distill.metrics.normalize import normalize_mlqa
from distill.metrics.squad import exact_match, f1
from distill.tasks.question_answering.reading import read_examples
from distill.types import Example

#: Start and end logits, each (B, S), from ``input_ids`` and its companions.
Compute = Callable[[Mapping[str, Tensor]], tuple[Tensor, Tensor]]


class PlainAnswer(NamedTuple):
    """What one question was answered with.

    Attributes:
        text: The best span, or "" if "no answer" scores more in every window.
        margin: How far the best two answers are apart, in logits.
        logits: Start and end logits of all real tokens of all windows, in order.
    """

    text: str
    margin: float
    logits: Tensor


class PlainReader:
    """Answers one question at a time with its tokenizer and a model: windows, logits, best span, "no answer".

    Args:
        compute: The model.
        tokenizer: Its tokenizer.
        max_length: Tokens of a window at most.
        doc_stride: Tokens that windows share.
        max_answer_length: Longest answer in tokens.
        no_answer_threshold: How much more "no answer" must score; None if every question has an answer.
        padding: As the tokenizer takes it: to the longest window of a question, or ``max_length``.
    """

    def __init__(
        self,
        compute: Compute,
        tokenizer: PreTrainedTokenizerBase,
        max_length: int = 384,
        doc_stride: int = 128,
        max_answer_length: int = 30,
        no_answer_threshold: float | None = 0.0,
        padding: bool | str = True,
    ) -> None:
        self.compute, self.tokenizer = compute, tokenizer
        self.no_answer_threshold = no_answer_threshold
        self.options = {"truncation": "only_second", "max_length": max_length, "stride": doc_stride, "padding": padding}
        places = torch.arange(max_length)
        width = places[None, :] - places[:, None]
        self.is_span = (width >= 0) & (width < max_answer_length)

    def __call__(self, example: Example) -> PlainAnswer:
        """Answer a question."""
        encoded = self.tokenizer(
            example.question,
            example.context,
            return_overflowing_tokens=True,
            return_offsets_mapping=True,
            return_tensors="pt",
            **self.options,
        )
        with torch.inference_mode():
            starts, ends = self.compute({name: encoded[name] for name in self.tokenizer.model_input_names})
        spans: dict[tuple[int, int], float] = {}
        for index, (start, end) in enumerate(zip(starts, ends, strict=True)):
            place = encoded["offset_mapping"][index]
            in_context = torch.tensor([part == 1 for part in encoded.sequence_ids(index)])
            visible = in_context & (place[:, 0] < place[:, 1])
            may_be = self.is_span[: len(start), : len(start)] & visible[:, None] & visible[None, :]
            scores = (start[:, None] + end[None, :]).masked_fill(~may_be, -torch.inf)
            for _ in range(2):
                first, last = divmod(int(scores.argmax()), len(start))
                span = int(place[first, 0]), int(place[last, 1])
                # Windows overlap: a span found twice counts once, with its best score.
                spans[span] = max(float(scores[first, last]), spans.get(span, -torch.inf))
                scores[first, last] = -torch.inf
        answers = [(score, example.context[slice(*span)].strip()) for span, score in spans.items()]
        if self.no_answer_threshold is not None:
            answers.append((float((starts[:, 0] + ends[:, 0]).min()) - self.no_answer_threshold, ""))
        (best, text), (second, _), *_ = [*sorted(answers, key=lambda answer: -answer[0]), (-torch.inf, "")]
        real = encoded["attention_mask"].bool()
        return PlainAnswer(text, best - second, torch.stack((starts[real], ends[real])))


def with_transformers(folder: str | Path) -> Compute:
    """Load a folder with transformers, in float32."""
    model = AutoModelForQuestionAnswering.from_pretrained(folder, dtype=torch.float32).eval()

    def compute(inputs: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        output = model(**inputs)
        return output.start_logits, output.end_logits

    return compute


def with_onnxruntime(file: str | Path) -> Compute:
    """Load a graph with onnxruntime, on one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    names = [node.name for node in session.get_inputs()]

    def compute(inputs: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        starts, ends = session.run(["start_logits", "end_logits"], {name: inputs[name].numpy() for name in names})
        return torch.from_numpy(starts), torch.from_numpy(ends)

    return compute


def compare(
    readers: Mapping[str, PlainReader], examples: Sequence[Example], language: str = "es"
) -> dict[str, dict[str, Any]]:
    """Return for every reader what separates it from the first one, which is the reference.

    ``changed`` names the questions that it answers otherwise, with the reference's margin.
    """
    normalize = partial(normalize_mlqa, language=language)
    largest = dict.fromkeys(readers, 0.0)
    changed: dict[str, dict[str, float]] = {name: {} for name in readers}
    scores: dict[str, list[tuple[float, float]]] = {name: [] for name in readers}
    reference = next(iter(readers))
    for example in examples:
        answers = {name: reader(example) for name, reader in readers.items()}
        right = [answer.text for answer in example.answers] or [""]
        expected = answers[reference]
        for name, found in answers.items():
            largest[name] = max(largest[name], float((found.logits - expected.logits).abs().max()))
            if found.text != expected.text:
                changed[name][example.question_id] = expected.margin
            scores[name].append((exact_match(found.text, right, normalize), f1(found.text, right, normalize)))
    return {
        name: {
            "max_difference": largest[name],
            "changed": changed[name],
            "exact_match": 100 * sum(em for em, _ in scores[name]) / len(examples),
            "f1": 100 * sum(f1 for _, f1 in scores[name]) / len(examples),
        }
        for name in readers
    }


def readers_of(student: str | Path, exported: str | Path) -> dict[str, PlainReader]:
    """Return the student, and every format of its export, each with its own tokenizer."""
    folder = Path(exported)
    ways = {"student": (with_transformers(student), student), "transformers": (with_transformers(folder), folder)}
    for name, file in (("onnxruntime", "model.onnx"), ("onnxruntime int8", "model_int8.onnx")):
        ways[name] = (with_onnxruntime(folder / "onnx" / file), folder / "onnx")
    return {name: PlainReader(compute, AutoTokenizer.from_pretrained(place)) for name, (compute, place) in ways.items()}


def main(student: str, exported: str, questions: str, num_questions: int | None = None) -> None:
    """Print what separates an export from the student.

    Args:
        student: The student's folder.
        exported: The folder that ``export`` wrote of it.
        questions: SQuAD JSON file.
        num_questions: How many of its questions; all when left out.
    """
    torch.set_num_threads(1)
    known, _ = read_examples([questions])
    count = min(num_questions or len(known), len(known))
    examples = known[:: len(known) // count][:count]
    Console(soft_wrap=True).print({"num_questions": count, **compare(readers_of(student, exported), examples)})


if __name__ == "__main__":
    run_function(main)
