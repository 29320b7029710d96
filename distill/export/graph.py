"""From a transformers model to an ONNX graph with a free batch size and length."""

from __future__ import annotations

import copy
import inspect
import warnings
from collections.abc import Collection, Iterable
from pathlib import Path

import torch
from torch import Tensor
from transformers import PreTrainedModel

from distill.models.loading import first_line
from distill.reporting.size import size_bytes
from distill.types import UserError

#: Has LayerNormalization as one operator, and every ONNX Runtime of the last years reads it.
OPSET = 17

#: What the graph returns, each (B, S) float32.
OUTPUT_NAMES = ("start_logits", "end_logits")

#: The most that one ONNX file can hold, by the format it is written in.
_MAX_BYTES = 2**31


def export_graph(model: PreTrainedModel, file: Path, batch_inputs: Collection[str]) -> tuple[str, ...]:
    """Write a question-answering model as one ONNX file: standard operators, float32, dynamic B and S.

    Attention is written out in plain matrix products: transformers' SDPA becomes a graph with two more passes over
    the S x S scores, and ONNX Runtime's fused attention is not faster for it on a CPU.

    Args:
        model: The model; it stays as it is.
        file: Where the graph goes; its folder is made when missing.
        batch_inputs: Names of what batches hold; those that the model's ``forward`` names become the graph's inputs.

    Returns:
        The names of the graph's inputs.

    Raises:
        UserError: If the extra is not installed, the model is too large for one file, or its family cannot be traced.
    """
    import_onnx()
    if size_bytes(model, torch.float32) >= _MAX_BYTES:
        raise UserError("ONNX: the model has 2 GB of weights or more, which one file cannot hold; use --formats '[]'")
    traced = copy.deepcopy(model).to("cpu", torch.float32).eval()
    family = traced.config.model_type
    # In the order of the signature, since the exporter hands out the names in that order.
    names = tuple(name for name in inspect.signature(traced.forward).parameters if name in batch_inputs)
    axes = {name: {0: "batch", 1: "sequence"} for name in (*names, *OUTPUT_NAMES)}
    file.parent.mkdir(parents=True, exist_ok=True)
    try:
        traced.set_attn_implementation("eager")
        with warnings.catch_warnings(), torch.no_grad():
            # It warns of its own age, and of Python branches that the check of other shapes covers.
            warnings.simplefilter("ignore")
            torch.onnx.export(
                traced,
                kwargs=_example(names, traced.config.pad_token_id),
                f=str(file),
                input_names=list(names),
                output_names=list(OUTPUT_NAMES),
                dynamic_axes=axes,
                opset_version=OPSET,
                dynamo=False,
            )
    except Exception as error:
        raise UserError(f"ONNX: models of the family {family!r} cannot be exported: {first_line(error)}") from error
    return names


def import_onnx() -> None:
    """Import what makes graphs, to find out early that it is missing.

    Raises:
        UserError: If the extra is not installed.
    """
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
    except ImportError as error:
        raise UserError(
            "ONNX needs the packages onnx and onnxruntime: pip install 'distill[export]', or export without it: "
            "--formats '[]'"
        ) from error


def _example(names: Iterable[str], pad_token_id: int | None) -> dict[str, Tensor]:
    """Return two windows of different lengths, so that the graph keeps what handles padding."""
    attention_mask = torch.ones(2, 8, dtype=torch.int64)
    attention_mask[1, 5:] = 0
    padding = pad_token_id or 0
    example = {
        "input_ids": torch.where(attention_mask.bool(), int(padding == 0), padding),
        "attention_mask": attention_mask,
        "token_type_ids": torch.zeros_like(attention_mask),
    }
    return {name: example[name] for name in names}
