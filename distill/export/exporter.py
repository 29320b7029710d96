"""Writing a student in every format and checking each of them against the student it came from."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.utilities import rank_zero_info
from torch import nn
from torch.utils.data import DataLoader
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from distill.callbacks.benchmark import LatencyBenchmark
from distill.export.checks import (
    FormatFigures,
    Point,
    changed_answers,
    describe,
    find_problems,
    max_difference,
    sample_batches,
    score,
    score_intervals,
    without_padding,
)
from distill.export.formats import FORMATS, load_format, size_on_disk, write_formats
from distill.models.recording import model_shape
from distill.reporting.environment import describe_environment, package_version
from distill.reporting.latency import TimedCalls, num_threads, random_inputs, relative_time, time_calls
from distill.reporting.size import num_parameters
from distill.tasks.base import EvaluationResult
from distill.tasks.question_answering.answers import ChosenAnswer
from distill.tasks.question_answering.task import QuestionAnswering
from distill.types import Batch

#: Windows, spread over the validation part, on which logits are compared and INT8 operators chosen.
NUM_SAMPLE_WINDOWS = 32
SAMPLE_BATCH_SIZE = 8

#: How the task makes answers of logits, which whoever answers with the export needs to know.
TASK_SETTINGS = ("language", "n_best", "max_answer_length", "null_threshold")

#: Where checks take place: exports are for processors.
_CPU = torch.device("cpu")


def export_student(
    student: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    task: QuestionAnswering,
    dataloader: DataLoader[Batch],
    benchmark: LatencyBenchmark,
    folder: Path,
    formats: Collection[str],
) -> dict[str, Any]:
    """Write the student in the named formats and check every one of them as it is loaded from the folder.

    Logits are compared with the student's own, answers and scores are those of the whole evaluation set, latencies
    are taken in turns, so that a busy machine slows all formats alike.

    Args:
        student: The student; it is brought to the CPU, into float32 and eval mode.
        tokenizer: Its tokenizer.
        task: How logits become answers and answers scores.
        dataloader: The evaluation set.
        benchmark: Batch sizes, lengths, rounds and threads of the timings; the first batch size at the largest length
            is the point of comparison.
        folder: Empty folder to write to.
        formats: What to write, ``torch`` first, see :func:`~distill.export.formats.chosen_formats`.

    Returns:
        The content of ``export.json``: ``student``, ``task``, ``formats`` (see
        :func:`~distill.export.checks.describe`), ``quantization``, ``reference`` (the point of comparison),
        ``benchmark`` and ``environment``; what is known of the data is not in it.
    """
    student = student.to(_CPU, torch.float32).eval()
    windows = dataloader.dataset
    batches = sample_batches(windows, NUM_SAMPLE_WINDOWS, SAMPLE_BATCH_SIZE)  # type: ignore[arg-type]
    rank_zero_info("writing %s", ", ".join(formats))
    quantization = write_formats(student, tokenizer, folder, formats, task, batches)
    with num_threads(benchmark.num_threads) as threads:
        models: dict[str, nn.Module] = {name: load_format(folder, name, task) for name in formats}
        results: dict[str, tuple[EvaluationResult, dict[str, ChosenAnswer]]] = {}
        for name, model in models.items():
            rank_zero_info("scoring %s", name)
            results[name] = score(model, task, dataloader)
        rank_zero_info("measuring latency")
        calls = _timed_calls(models, student, benchmark, windows.max_length)  # type: ignore[attr-defined]
    differences = {name: _differences(model, student, task, batches) for name, model in models.items()}
    figures = _figures(folder, results, differences, calls, task, dataloader)
    reference = figures["torch"]
    batch_size, length = next(iter(reference.latency))
    return {
        "student": {
            "model_type": student.config.model_type,
            "num_parameters": num_parameters(student),
            "vocab_size": student.config.vocab_size,
            **asdict(model_shape(student)),
        },
        "task": {name: getattr(task, name) for name in TASK_SETTINGS},
        "formats": {
            name: {"file": FORMATS[name].file, **describe(figure, find_problems(figure, reference))}
            for name, figure in figures.items()
        },
        "quantization": asdict(quantization) if quantization is not None else None,
        "reference": {"batch_size": batch_size, "length": length},
        "benchmark": {"rounds": benchmark.rounds, "warmup": benchmark.warmup, "num_threads": threads},
        "environment": {
            **describe_environment(_CPU),
            "num_threads": threads,
            "onnxruntime": package_version("onnxruntime"),
        },
    }


def _timed_calls(
    models: Mapping[str, nn.Module], student: PreTrainedModel, benchmark: LatencyBenchmark, max_length: int
) -> dict[str, dict[Point, TimedCalls]]:
    """Return the timed calls of all formats at every point, the point of comparison first."""
    lengths = sorted(benchmark.lengths or (max_length,), reverse=True)
    timings: dict[str, dict[Point, TimedCalls]] = {name: {} for name in models}
    for batch_size in benchmark.batch_sizes:
        for length in lengths:
            make_inputs = random_inputs(
                student.config.vocab_size, batch_size, length, _CPU, student.config.pad_token_id
            )
            measured = time_calls(models, make_inputs, benchmark.rounds, benchmark.warmup, _CPU)
            for name in models:
                timings[name][batch_size, length] = measured[name]
    return timings


def _differences(
    model: nn.Module, student: PreTrainedModel, task: QuestionAnswering, batches: list[Batch]
) -> dict[str, float]:
    singles = [inputs for batch in batches for inputs in without_padding(batch)]
    return {
        "padded": max_difference(model, student, task, [batch.inputs for batch in batches]),
        "unpadded": max_difference(model, student, task, singles),
    }


def _figures(
    folder: Path,
    results: Mapping[str, tuple[EvaluationResult, Mapping[str, ChosenAnswer]]],
    differences: Mapping[str, Mapping[str, float]],
    calls: Mapping[str, Mapping[Point, TimedCalls]],
    task: QuestionAnswering,
    dataloader: DataLoader[Batch],
) -> dict[str, FormatFigures]:
    examples = dataloader.dataset.examples  # type: ignore[attr-defined]
    _, original = results["torch"]
    return {
        name: FormatFigures(
            dtype=FORMATS[name].dtype,
            size_bytes=size_on_disk(folder, name),
            max_difference=differences[name],
            scores=result.scores,
            intervals=score_intervals(examples, result.predictions, task.language),
            changed_answers=changed_answers(answers, original, task.null_threshold),
            latency={point: timed.latency for point, timed in calls[name].items()},
            relative_time={point: relative_time(timed, calls["torch"][point]) for point, timed in calls[name].items()},
        )
        for name, (result, answers) in results.items()
    }
