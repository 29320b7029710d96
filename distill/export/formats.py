"""The forms that a student is shipped in: how each one is written, and how it is loaded again."""

from __future__ import annotations

import copy
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from distill.export.graph import export_graph
from distill.export.quantization import Quantization, quantize
from distill.export.runtime import ONNX_FILES, OnnxModel
from distill.tasks.base import Task
from distill.types import Batch, UserError

#: What can be asked for beside float32 for transformers, which is always there.
FormatName = Literal["onnx", "int8", "bf16"]


@dataclass(frozen=True)
class Format:
    """One form of the student.

    Attributes:
        runtime: What computes it.
        dtype: What its weights are in.
        file: Its weights inside the export folder; what it needs beside them lies in the same folder.
    """

    runtime: Literal["torch", "onnxruntime"]
    dtype: Literal["float32", "bfloat16", "int8"]
    file: str


#: The forms by name; the first one is always written and is what the others are compared with.
FORMATS: dict[str, Format] = {
    "torch": Format("torch", "float32", "model.safetensors"),
    "bf16": Format("torch", "bfloat16", "bf16/model.safetensors"),
    "onnx": Format("onnxruntime", "float32", ONNX_FILES["float32"]),
    "int8": Format("onnxruntime", "int8", ONNX_FILES["int8"]),
}


def chosen_formats(names: Collection[str]) -> list[str]:
    """Return what is written for a wish, in order: ``torch`` always, ``onnx`` also where ``int8`` is made from it."""
    wanted = {"torch", *names, *(("onnx",) if "int8" in names else ())}
    return [name for name in FORMATS if name in wanted]


def write_formats(
    student: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    folder: Path,
    names: Collection[str],
    task: Task,
    batches: Sequence[Batch],
) -> Quantization | None:
    """Write the student in the named formats, each with the tokenizer and configuration beside it.

    Args:
        student: The student, float32 on the CPU.
        tokenizer: Its tokenizer.
        folder: The export folder.
        names: What to write, see :func:`chosen_formats`.
        task: What the student predicts.
        batches: A sample of the data, on which INT8 is compared with float32.

    Returns:
        How the INT8 graph was quantized, where there is one.
    """
    student.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    if "bf16" in names:
        copy.deepcopy(student).to(torch.bfloat16).save_pretrained(folder / "bf16")
        tokenizer.save_pretrained(folder / "bf16")
    if "onnx" not in names:
        return None
    export_graph(student, folder / ONNX_FILES["float32"], list(batches[0].inputs))
    student.config.save_pretrained(folder / "onnx")
    tokenizer.save_pretrained(folder / "onnx")
    if "int8" not in names:
        return None
    return quantize(folder / ONNX_FILES["float32"], folder / ONNX_FILES["int8"], task, batches)


def load_format(folder: Path, name: str, task: Task) -> nn.Module:
    """Load one format of an export folder, in eval mode, as its users would.

    Raises:
        UserError: If the folder lacks it, or holds other weights than the model has.
    """
    form = FORMATS[name]
    if form.runtime == "onnxruntime":
        return OnnxModel(folder / form.file)
    source = (folder / form.file).parent
    model, info = task.load_model(str(source), dtype=getattr(torch, form.dtype), output_loading_info=True)
    if wrong := sorted({*info["missing_keys"], *info["unexpected_keys"], *info["mismatched_keys"]}):
        raise UserError(f"{source}: its weights do not belong to its configuration: {', '.join(wrong[:3])}")
    return model.eval()


def size_on_disk(folder: Path, name: str) -> int:
    """Return the bytes of a format's weights, in however many files."""
    file = folder / FORMATS[name].file
    # Large models are written in several files, model-00001-of-00002.safetensors and so on.
    files = [file] if file.exists() else file.parent.glob(f"{file.stem}-*{file.suffix}")
    return sum(part.stat().st_size for part in files)
