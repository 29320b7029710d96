"""INT8 graphs: as many operators as the answers can bear, the others left in float32."""

from __future__ import annotations

import logging
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import kl_div

from distill.export.graph import import_onnx
from distill.export.runtime import OnnxModel
from distill.tasks.base import Task
from distill.types import Batch

#: Mean divergence in nats up to which quantization is taken as it is. With noise on the weights of the default student,
#: which answers 1,551 questions, 0.01 changed 3 % of the answers and cost 0.1 F1; 0.5 F1 were lost at about 0.03.
MAX_DIVERGENCE = 0.01


@dataclass(frozen=True)
class Quantization:
    """How a graph was quantized.

    Attributes:
        quantized: Operators whose weights are INT8, by their names in the graph.
        kept: Operators that stayed in float32 although they could be quantized, the most sensitive first.
        divergence: Mean divergence of the graph from the float32 one, see :func:`divergence`.
    """

    quantized: tuple[str, ...]
    kept: tuple[str, ...]
    divergence: float


def quantize(
    float_file: Path, int8_file: Path, task: Task, batches: Sequence[Batch], max_divergence: float = MAX_DIVERGENCE
) -> Quantization:
    """Write the INT8 form of a graph: dynamic, weights per output channel, activations per tensor and call.

    All operators with weights, embeddings included, are quantized. If the answers move by more than
    ``max_divergence``, each operator is tried alone, and the fewest of the most sensitive ones that bring it back
    below stay in float32. The same graph and batches give the same file.

    Args:
        float_file: The float32 graph.
        int8_file: Where the INT8 graph goes.
        task: Lays logits out in rows of classes.
        batches: What the answers are compared on; labels are not looked at.
        max_divergence: In nats, see :func:`divergence`.
    """
    operators = quantizable_operators(float_file)
    expected = log_probabilities(OnnxModel(float_file), task, batches)

    def measure(chosen: Sequence[str]) -> float:
        write_int8(float_file, int8_file, chosen)
        return divergence(log_probabilities(OnnxModel(int8_file), task, batches), expected)

    found = measure(operators)
    if found <= max_divergence:
        return Quantization(tuple(operators), (), found)
    sensitivities = {operator: measure([operator]) for operator in operators}
    ranked = sorted(operators, key=lambda operator: -sensitivities[operator])
    # With everything kept nothing is lost, so there is a smallest number.
    num_kept = bisect_left(range(len(ranked)), True, key=lambda count: measure(ranked[count:]) <= max_divergence)
    return Quantization(tuple(ranked[num_kept:]), tuple(ranked[:num_kept]), measure(ranked[num_kept:]))


def quantizable_operators(file: Path) -> list[str]:
    """Return the names of a graph's matrix products with weights and of its embeddings, in the graph's order."""
    import onnx

    graph = onnx.load(file).graph
    weights = {tensor.name for tensor in graph.initializer if tensor.data_type == onnx.TensorProto.FLOAT}
    place = {"MatMul": 1, "Gemm": 1, "Gather": 0}
    return [node.name for node in graph.node if node.op_type in place and node.input[place[node.op_type]] in weights]


def write_int8(float_file: Path, int8_file: Path, operators: Sequence[str]) -> None:
    """Write a graph with the weights of some operators in INT8, and the others as they are."""
    import_onnx()
    from onnxruntime.quantization import QuantType, quantize_dynamic

    with _without_advice():
        quantize_dynamic(
            float_file,
            int8_file,
            # An empty list would stand for all.
            nodes_to_quantize=list(operators) or [""],
            per_channel=True,
            reduce_range=False,
            weight_type=QuantType.QInt8,
            extra_options={"MatMulConstBOnly": True},
        )


def log_probabilities(model: Any, task: Task, batches: Sequence[Batch]) -> list[Tensor]:
    """Return for each batch the log-softmax over the classes of each row, as the task lays rows out."""
    with torch.inference_mode():
        # Wide, so that the smallest divergence is not lost in rounding.
        return [task.rows(task.logits(model(**batch.inputs)), batch).double().log_softmax(-1) for batch in batches]


def divergence(found: Sequence[Tensor], expected: Sequence[Tensor]) -> float:
    """Return the mean over all rows of ``KL(p || q) = sum_c p_c (log p_c - log q_c)``, in nats; 0 without rows.

    Args:
        found: log q of each batch, (N, C); the quantized model's.
        expected: log p of each batch, (N, C); the float32 model's.
    """
    num_rows = sum(len(rows) for rows in expected)
    total = sum(kl_div(q, p, log_target=True, reduction="sum").item() for q, p in zip(found, expected, strict=True))
    return total / max(num_rows, 1)


@contextmanager
def _without_advice() -> Iterator[None]:
    """Silence the root logger's advice to pre-process the graph, which is of use for static quantization alone."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
