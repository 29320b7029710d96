"""How fast teacher and student answer in every format, at any sizes, with random weights.

Latency does not depend on the values of weights. The default sizes are a RoBERTa-large teacher of 354 M parameters and
a student of 51 M; they need about 16 GB of memory:

    python -m tests.benchmarks.inference --output inference.json

The models are called in turns, and ratios are taken round by round. Large points get fewer rounds, see ``--tokens``:
on a slow processor the teacher takes minutes for 32 windows of 384 tokens. bfloat16 is left out where the processor has
no units for it. ``--clock processor`` counts the processor's time and not the wall's, so that waiting for other work on
a busy machine does not count; use it with one thread only.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, Literal

import torch
from rich.console import Console
from rich.table import Table
from torch import nn
from transformers import AutoModelForQuestionAnswering, RobertaConfig

from distill.entry import run_function
from distill.export.graph import export_graph
from distill.export.quantization import quantizable_operators, write_int8
from distill.export.runtime import OnnxModel
from distill.files import write_json
from distill.processor import fast_precision
from distill.reporting.environment import describe_environment, package_version
from distill.reporting.latency import TimedCalls, num_threads, random_inputs, relative_time, time_calls
from distill.reporting.size import num_parameters

FORMS = ("torch float32", "torch bfloat16", "onnx float32", "onnx int8")
CLOCKS = {"wall": time.perf_counter_ns, "processor": time.process_time_ns}
CPU = torch.device("cpu")
PAD_TOKEN_ID = 1

#: Milliseconds of the largest points are long, and a narrow table would cut them short.
_TABLE_WIDTH = 112


@dataclass
class Sizes:
    """The sizes of a RoBERTa."""

    num_layers: int
    hidden_size: int
    num_heads: int
    intermediate_size: int


def build_forms(
    sizes: Sizes, vocab_size: int, max_length: int, folder: Path, forms: Sequence[str] = FORMS
) -> tuple[int, dict[str, nn.Module]]:
    """Return the number of parameters of a model with random weights, and the model in the named forms."""
    config = RobertaConfig(
        vocab_size=vocab_size,
        num_hidden_layers=sizes.num_layers,
        hidden_size=sizes.hidden_size,
        num_attention_heads=sizes.num_heads,
        intermediate_size=sizes.intermediate_size,
        max_position_embeddings=max_length + PAD_TOKEN_ID + 1,
        type_vocab_size=1,
        pad_token_id=PAD_TOKEN_ID,
    )
    torch.manual_seed(0)
    model = AutoModelForQuestionAnswering.from_config(config).eval()
    graph, rounded_graph = folder / "model.onnx", folder / "model_int8.onnx"
    if {"onnx float32", "onnx int8"} & set(forms):
        export_graph(model, graph, ["input_ids", "attention_mask"])
    if "onnx int8" in forms:
        write_int8(graph, rounded_graph, quantizable_operators(graph))
    make = {
        "torch float32": lambda: model,
        "torch bfloat16": lambda: AutoModelForQuestionAnswering.from_config(config).eval().to(torch.bfloat16),
        "onnx float32": lambda: OnnxModel(graph),
        "onnx int8": lambda: OnnxModel(rounded_graph),
    }
    return num_parameters(model), {form: make[form]() for form in forms}


def num_rounds(batch_size: int, length: int, tokens: int, least: int, most: int) -> int:
    """Return how often a model is called at a point: until it has seen so many tokens, within bounds."""
    return min(max(tokens // (batch_size * length), least), most)


def summarise(calls: dict[str, TimedCalls]) -> list[dict[str, Any]]:
    """Return one row for each model of one point: times, and how many times faster it is.

    ``speedup`` is against the teacher in float32 torch, ``like_for_like`` against the teacher in the same form; both
    are the median of the rounds' ratios with the quartiles.
    """
    rows = []
    for name, timed in calls.items():
        role, _, form = name.partition(" ")
        rows.append(
            {
                "model": role,
                "form": form,
                "rounds": len(timed.times_ns),
                "p50_ms": timed.latency.p50_ms,
                "p95_ms": timed.latency.p95_ms,
                "speedup": _ratio(calls[f"teacher {FORMS[0]}"], timed),
                "like_for_like": _ratio(calls[f"teacher {form}"], timed),
            }
        )
    return rows


def result_table(result: dict[str, Any]) -> Table:
    """Return the rows of all points as a table."""
    table = Table(
        title="Inference",
        caption="Times faster than the teacher, in float32 torch and like for like: median (quartiles)",
    )
    for column in ("batch x length", "model"):
        table.add_column(column, no_wrap=True)
    for column in ("p50, ms", "p95, ms", "over float32", "like for like"):
        table.add_column(column, justify="right")
    for index, row in enumerate(result["rows"]):
        if index and row["length"] != result["rows"][index - 1]["length"]:
            table.add_section()
        table.add_row(
            f"{row['batch_size']} x {row['length']}",
            f"{row['model']} {row['form']}",
            f"{row['p50_ms']:.1f}",
            f"{row['p95_ms']:.1f}",
            *("{:.1f} ({:.1f}-{:.1f})".format(*row[key]) for key in ("speedup", "like_for_like")),
        )
    return table


def headlines(result: dict[str, Any]) -> list[str]:
    """Return, for each point, how much faster the fastest form of the student is, and the ratios like for like."""
    points: dict[tuple[int, int], list[dict[str, Any]]] = {}
    for row in result["rows"]:
        if row["model"] == "student":
            points.setdefault((row["batch_size"], row["length"]), []).append(row)
    lines = []
    for (batch_size, length), rows in points.items():
        best = max(rows, key=lambda row: row["speedup"][0])
        alike = ", ".join(f"{row['form']} {row['like_for_like'][0]:.1f}x" for row in rows)
        lines.append(
            f"{batch_size} x {length}: {best['form']} {best['speedup'][0]:.1f}x the float32 torch teacher; "
            f"like for like: {alike}"
        )
    return lines


def main(
    output: str = "inference.json",
    student: Sizes = Sizes(6, 512, 16, 3072),  # noqa: B008 - read only
    teacher: Sizes = Sizes(24, 1024, 16, 4096),  # noqa: B008 - read only
    vocab_size: int = 50262,
    batch_sizes: Sequence[int] = (1, 8, 32),
    lengths: Sequence[int] = (64, 128, 384),
    tokens: int = 4096,
    min_rounds: int = 2,
    max_rounds: int = 20,
    threads: int = 1,
    forms: Sequence[str] | None = None,
    clock: Literal["wall", "processor"] = "wall",
) -> None:
    """Time teacher and student in every form, print the table and write it as JSON, anew after every point.

    Args:
        output: JSON file to write.
        student: The student's sizes.
        teacher: The teacher's sizes.
        vocab_size: Pieces of both.
        batch_sizes: Windows in a call.
        lengths: Tokens of a window.
        tokens: Each model is called at a point until it has seen so many, after one call that is not timed; where one
            call is more than that, without it.
        min_rounds: Timed calls of each model at a point, at least.
        max_rounds: Timed calls of each model at a point, at most.
        threads: CPU threads of each operation.
        forms: What to time, of which ``torch float32`` must be one; what the processor has units for when left out.
        clock: What time is told by; see above.
    """
    if forms is None:
        has_units = fast_precision(CPU.type) != "32-true"
        forms = [form for form in FORMS if has_units or form != "torch bfloat16"]
    if FORMS[0] not in forms or set(forms) - set(FORMS):
        raise SystemExit(f"--forms: choose from {', '.join(FORMS)}; {FORMS[0]} must be one of them")
    if clock == "processor" and threads > 1:
        raise SystemExit("--clock processor adds up the time of all threads: use it with --threads 1")
    console = Console()
    console.width = max(console.width, _TABLE_WIDTH)
    with tempfile.TemporaryDirectory() as folder, num_threads(threads):
        models: dict[str, nn.Module] = {}
        parameters = {}
        for role, sizes in (("teacher", teacher), ("student", student)):
            place = Path(folder) / role
            parameters[role], built = build_forms(sizes, vocab_size, max(lengths), place, forms)
            models |= {f"{role} {form}": model for form, model in built.items()}
        rows: list[dict[str, Any]] = []
        environment = {
            **describe_environment(CPU),
            "num_threads": threads,
            "onnxruntime": package_version("onnxruntime"),
        }
        settings = {"tokens": tokens, "clock": clock}
        result = {"parameters": parameters, **settings, "environment": environment, "rows": rows}
        for batch_size, length in product(batch_sizes, lengths):
            make_inputs = random_inputs(vocab_size, batch_size, length, CPU, PAD_TOKEN_ID)
            rounds = num_rounds(batch_size, length, tokens, min_rounds, max_rounds)
            warmup = int(batch_size * length <= tokens)
            calls = time_calls(models, make_inputs, rounds, warmup, CPU, CLOCKS[clock], with_memory=False)
            rows += [{"batch_size": batch_size, "length": length, **row} for row in summarise(calls)]
            write_json(Path(output), result)
    console.print(result_table(result))
    for line in headlines(result):
        console.print(line, soft_wrap=True)


def _ratio(slow: TimedCalls, fast: TimedCalls) -> tuple[float, float, float]:
    ratio = relative_time(slow, fast)
    return ratio.median, ratio.low, ratio.high


if __name__ == "__main__":
    run_function(main)
