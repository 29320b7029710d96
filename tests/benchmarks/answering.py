"""How many questions a second ``QuestionAnswerer`` answers, against a plain loop, and what a long document costs.

    python -m tests.benchmarks.answering --model embedded --questions xquad_es.json
    python -m tests.benchmarks.answering --model EXPORTED --questions xquad_es.json --forms '[torch, onnx, int8]'

The plain loop is what one writes with transformers alone: for each question the tokenizer, with every window padded to
the full length, then the model in float32, then the best span. All take turns on the same questions, and every block
compares them anew. Times are of the processor unless told, so that waiting for other work does not count.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import torch
from rich.console import Console
from transformers import AutoTokenizer

from distill.answering.answerer import QuestionAnswerer
from distill.answering.inputs import Item
from distill.answering.settings import AnswerSettings
from distill.entry import run_function
from distill.models.loading import resolve_source
from distill.reporting.latency import TimedCalls, relative_time
from distill.tasks.question_answering.reading import read_examples
from distill.types import Example
from tests.benchmarks.peak import peak_memory
from tests.export.alone import PlainReader, with_transformers

#: What answers, by the name of its format: backend and precision.
FORMS = {"torch": ("torch", "float32"), "onnx": ("onnx", "float32"), "int8": ("onnx", "int8")}


def compare(
    loop: PlainReader,
    answerers: Mapping[str, QuestionAnswerer],
    examples: Sequence[Example],
    num_blocks: int,
    clock: Callable[[], float] = time.process_time,
) -> dict[str, Any]:
    """Return the speed of the loop and of answerers, and which answers differ from the loop's.

    ``ratio`` says how many times as many questions a second an answerer answers: the median over the blocks, with the
    quartiles.
    """
    seconds: dict[str, list[float]] = {"loop": [], **{name: [] for name in answerers}}
    differing: dict[str, list[str]] = {name: [] for name in answerers}
    for block in range(num_blocks):
        part = examples[block::num_blocks]
        items = [Item(example.question, (example.context,)) for example in part]
        answers = {}
        for name in list(seconds) if block % 2 == 0 else reversed(seconds):
            start = clock()
            if name == "loop":
                answers[name] = [loop(example).text for example in part]
            else:
                answers[name] = [found["answer"] for found in answerers[name](items)]
            seconds[name].append(clock() - start)
        for name in answerers:
            pairs = zip(part, answers["loop"], answers[name], strict=True)
            differing[name] += [example.question_id for example, plain, found in pairs if plain != found]
    calls = {name: TimedCalls(tuple(int(1e9 * t) for t in times), len(examples)) for name, times in seconds.items()}
    ratios = {name: relative_time(calls["loop"], calls[name]) for name in answerers}
    return {
        "num_questions": len(examples),
        "questions_per_second": {name: len(examples) / sum(times) for name, times in seconds.items()},
        "ratio": {name: (found.median, found.low, found.high) for name, found in ratios.items()},
        "differing": differing,
    }


def plain_loop(folder: str, settings: AnswerSettings) -> PlainReader:
    """Return what answers one question at a time with transformers, under the settings of an answerer."""
    return PlainReader(
        with_transformers(folder),
        AutoTokenizer.from_pretrained(folder),
        settings.max_length,
        settings.doc_stride,
        settings.max_answer_length,
        settings.no_answer_threshold,
        padding="max_length",
    )


def document_memory(answerer: QuestionAnswerer, question: str, text: str, num_words: int) -> dict[str, Any]:
    """Return how much the process grows, at its peak, while it answers about a text repeated to ``num_words``."""
    words = text.split()
    document = " ".join((words * (num_words // len(words) + 1))[:num_words])
    answerer(question, text)
    before = peak_memory()
    answerer(question, document)
    grown = peak_memory() - before
    return {"num_words": num_words, "num_chars": len(document), "peak_growth_mb": grown / 2**20}


def run(
    questions: str,
    model: str = "embedded",
    num_questions: int | None = None,
    num_blocks: int = 10,
    document_words: list[int] | None = None,
    forms: Sequence[str] = ("torch",),
    num_threads: int = 1,
    clock: Literal["processor", "wall"] = "processor",
) -> None:
    """Print both measurements.

    Args:
        questions: SQuAD JSON file.
        model: Folder or hub name; with formats of ``export``, its folder.
        num_questions: How many of its questions; all when left out.
        num_blocks: Turns.
        document_words: Lengths of documents, in rising order.
        forms: Formats of the answerer: ``torch``, ``onnx``, ``int8``.
        num_threads: Threads of each operation.
        clock: What times are of; of several threads it is the wall's that a user waits for.
    """
    torch.set_num_threads(num_threads)
    answerers = {}
    for form in forms:
        backend, dtype = FORMS[form]
        answerers[form] = QuestionAnswerer.from_pretrained(
            model, backend=backend, dtype=dtype, device="cpu" if backend == "torch" else "auto"
        )
    settings = next(iter(answerers.values())).settings
    source = resolve_source(model)
    loop = plain_loop(source, settings)
    known, _ = read_examples([questions])
    count = min(num_questions or len(known), len(known))
    examples = known[:: len(known) // count][:count]  # of all parts of the file
    console = Console()
    for num_words in document_words or []:
        answerer = next(iter(answerers.values()))
        console.print(document_memory(answerer, examples[0].question, examples[0].context, num_words))
    timer = time.process_time if clock == "processor" else time.perf_counter
    console.print(compare(loop, answerers, examples, num_blocks, timer))


if __name__ == "__main__":
    run_function(run)
