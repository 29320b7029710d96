"""How fast teacher and student answer in every format, at any sizes, with random weights.

Latency does not depend on the values of weights. The default sizes are a RoBERTa-large teacher of 354 M parameters and
a student of 51 M; they need about 16 GB of memory:

    python -m tests.benchmarks.inference --output inference.json

The models are called in turns, in several blocks; the spread is that of the blocks' medians.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch import nn
from transformers import AutoModelForQuestionAnswering, RobertaConfig

from distill.export.graph import export_graph
from distill.export.quantization import quantizable_operators, write_int8
from distill.export.runtime import OnnxModel
from distill.files import write_json
from distill.reporting.environment import describe_environment, package_version
from distill.reporting.latency import Latency, measure_latency, num_threads, random_inputs
from distill.reporting.size import num_parameters

FORMS = ("torch float32", "torch bfloat16", "onnx float32", "onnx int8")
CPU = torch.device("cpu")
PAD_TOKEN_ID = 1


@dataclass
class Sizes:
    """The sizes of a RoBERTa."""

    num_layers: int
    hidden_size: int
    num_heads: int
    intermediate_size: int


def build_forms(sizes: Sizes, vocab_size: int, max_length: int, folder: Path) -> tuple[int, dict[str, nn.Module]]:
    """Return the number of parameters of a model with random weights, and the model in every form."""
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
    export_graph(model, folder / "model.onnx", ["input_ids", "attention_mask"])
    write_int8(folder / "model.onnx", folder / "model_int8.onnx", quantizable_operators(folder / "model.onnx"))
    rounded = AutoModelForQuestionAnswering.from_config(config).eval().to(torch.bfloat16)
    graphs = [OnnxModel(folder / "model.onnx"), OnnxModel(folder / "model_int8.onnx")]
    return num_parameters(model), dict(zip(FORMS, (model, rounded, *graphs), strict=True))


def summarise(blocks: Sequence[dict[str, Latency]]) -> list[dict[str, Any]]:
    """Return one row for each model of one point, over the blocks: times, and how many times faster it is.

    ``speedup`` is against the teacher in float32 torch, ``like_for_like`` against the teacher in the same form; both
    are the median of the blocks' ratios, with the lowest and the highest.
    """
    rows = []
    for name in blocks[0]:
        role, _, form = name.partition(" ")
        p50s = [block[name].p50_ms for block in blocks]
        rows.append(
            {
                "model": role,
                "form": form,
                "p50_ms": median(p50s),
                "p50_ms_range": [min(p50s), max(p50s)],
                "p95_ms": median(block[name].p95_ms for block in blocks),
                "speedup": _ratio(blocks, f"teacher {FORMS[0]}", name),
                "like_for_like": _ratio(blocks, f"teacher {form}", name),
            }
        )
    return rows


def result_table(result: dict[str, Any]) -> Table:
    """Return the rows of all points as a table."""
    table = Table(
        title="Inference",
        caption="Times faster than the teacher, in float32 torch and like for like: median (range of the blocks)",
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
            *("{:.1f} ({:.0f}-{:.0f})".format(*row[key]) for key in ("speedup", "like_for_like")),
        )
    return table


def main(
    output: str = "inference.json",
    student: Sizes = Sizes(6, 512, 16, 3072),  # noqa: B008 - read only
    teacher: Sizes = Sizes(24, 1024, 16, 4096),  # noqa: B008 - read only
    vocab_size: int = 50262,
    batch_sizes: Sequence[int] = (1, 8, 32),
    lengths: Sequence[int] = (64, 128, 384),
    rounds: int = 10,
    warmup: int = 1,
    blocks: int = 3,
    threads: int = 1,
) -> None:
    """Time teacher and student in every form, print the table and write it as JSON.

    Args:
        output: JSON file to write.
        student: The student's sizes.
        teacher: The teacher's sizes.
        vocab_size: Pieces of both.
        batch_sizes: Windows in a call.
        lengths: Tokens of a window.
        rounds: Timed calls of each model in a block.
        warmup: Calls of each model before a block.
        blocks: How often each point is measured anew.
        threads: CPU threads of each operation.
    """
    console = Console()
    with tempfile.TemporaryDirectory() as folder, num_threads(threads):
        models: dict[str, nn.Module] = {}
        parameters = {}
        for role, sizes in (("teacher", teacher), ("student", student)):
            place = Path(folder) / role
            parameters[role], forms = build_forms(sizes, vocab_size, max(lengths), place)
            models |= {f"{role} {form}": model for form, model in forms.items()}
        rows = []
        for batch_size in batch_sizes:
            for length in lengths:
                make_inputs = random_inputs(vocab_size, batch_size, length, CPU, PAD_TOKEN_ID)
                measured = [measure_latency(models, make_inputs, rounds, warmup, CPU) for _ in range(blocks)]
                rows += [{"batch_size": batch_size, "length": length, **row} for row in summarise(measured)]
    environment = {**describe_environment(CPU), "num_threads": threads, "onnxruntime": package_version("onnxruntime")}
    settings = {"rounds": rounds, "warmup": warmup, "blocks": blocks}
    result = {"parameters": parameters, **settings, "environment": environment, "rows": rows}
    write_json(Path(output), result)
    console.print(result_table(result))


def _ratio(blocks: Sequence[dict[str, Latency]], slow: str, fast: str) -> tuple[float, float, float]:
    ratios = [block[slow].p50_ms / block[fast].p50_ms for block in blocks]
    return median(ratios), min(ratios), max(ratios)


if __name__ == "__main__":
    from jsonargparse import auto_cli

    auto_cli(main, as_positional=False)
