"""How many questions a second ``QuestionAnswerer`` answers, against a plain loop, and what a long document costs.

    python -m tests.benchmarks.answering --model embedded --questions xquad_es.json

The plain loop takes one question at a time and pads every window to the full length, in PyTorch and float32. Windows
and choice are the same, so that the answers can be compared. Both take turns on the same questions. Times are of the
processor, so that waiting for other work on the machine does not count.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Sequence
from typing import Any

import torch
from rich.console import Console

from distill.answering.answerer import QuestionAnswerer
from distill.answering.inputs import Item
from distill.data.windows import WindowPadder
from distill.tasks.question_answering.answers import best_spans, choose_answers
from distill.tasks.question_answering.reading import read_examples
from distill.tasks.question_answering.windows import build_windows
from distill.types import Example


def plain_loop(answerer: QuestionAnswerer, examples: Sequence[Example]) -> list[str]:
    """Answer one question at a time, every window padded to the full length."""
    scorer, settings = answerer._scorer, answerer.settings
    padder = WindowPadder(scorer.tokenizer, settings.max_length, pad_to_max_length=True)
    lengths = settings.max_length, settings.doc_stride, settings.max_question_length
    answers = []
    for example in examples:
        columns = build_windows([example], scorer.tokenizer, *lengths)
        found = []
        for index in range(len(columns["input_ids"])):
            rows = {name: [column[index]] for name, column in columns.items()}
            batch = padder(rows, [index], [example])
            found += best_spans(scorer.backend(batch.inputs), batch, settings.n_best, settings.max_answer_length)
        answers.append(choose_answers(found, settings.no_answer_threshold, settings.n_best)[example.question_id].text)
    return answers


def compare(
    answerer: QuestionAnswerer, reference: QuestionAnswerer, examples: Sequence[Example], num_blocks: int
) -> dict[str, Any]:
    """Return the speed of the answerer and of the plain loop with a reference, and which answers differ."""
    seconds = {"loop": [], "batched": []}
    differing = []
    for block in range(num_blocks):
        part = examples[block::num_blocks]
        ways = {
            "loop": lambda part=part: plain_loop(reference, part),
            "batched": lambda part=part: [
                found["answer"] for found in answerer([Item(each.question, (each.context,)) for each in part])
            ],
        }
        answers = {}
        for name in list(ways) if block % 2 == 0 else reversed(ways):
            start = time.process_time()
            answers[name] = ways[name]()
            seconds[name].append(time.process_time() - start)
        pairs = zip(part, answers["loop"], answers["batched"], strict=True)
        differing += [example.question_id for example, left, right in pairs if left != right]
    ratios = sorted(loop / batched for loop, batched in zip(seconds["loop"], seconds["batched"], strict=True))
    return {
        "num_questions": len(examples),
        "questions_per_second": {name: len(examples) / sum(times) for name, times in seconds.items()},
        "ratio": sum(seconds["loop"]) / sum(seconds["batched"]),
        "ratio_of_blocks": [ratios[0], ratios[-1]],
        "differing": differing,
    }


def document_memory(answerer: QuestionAnswerer, question: str, text: str, num_words: int) -> dict[str, Any]:
    """Return how much the process grows, at its peak, while it answers about a text repeated to ``num_words``."""
    words = text.split()
    document = " ".join((words * (num_words // len(words) + 1))[:num_words])
    answerer(question, text)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    answerer(question, document)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    return {"num_words": num_words, "num_chars": len(document), "peak_growth_mb": grown / 1024}


def run(
    questions: str,
    model: str = "embedded",
    num_questions: int | None = None,
    num_blocks: int = 6,
    document_words: list[int] | None = None,
    backend: str = "torch",
    dtype: str | None = None,
    num_threads: int = 1,
) -> None:
    """Print both measurements.

    Args:
        questions: SQuAD JSON file.
        model: Folder or hub name.
        num_questions: How many of its questions; all when left out.
        num_blocks: Turns.
        document_words: Lengths of documents, in rising order.
        backend: ``torch`` or ``onnx``.
        dtype: Precision of the answerer.
        num_threads: Threads of each operation.
    """
    torch.set_num_threads(num_threads)
    reference = QuestionAnswerer.from_pretrained(model, device="cpu")
    answerer = QuestionAnswerer.from_pretrained(model, backend=backend, dtype=dtype, device="cpu")
    known, _ = read_examples([questions])
    count = min(num_questions or len(known), len(known))
    examples = known[:: len(known) // count][:count]  # of all parts of the file
    console = Console()
    for num_words in document_words or []:
        console.print(document_memory(answerer, examples[0].question, examples[0].context, num_words))
    console.print(compare(answerer, reference, examples, num_blocks))


if __name__ == "__main__":
    from jsonargparse import auto_cli

    auto_cli(run, as_positional=False)
