"""What computes the logits: PyTorch, or an exported ONNX file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal, Protocol

import torch
from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError
from torch import Tensor
from transformers import PreTrainedConfig, PreTrainedModel

from distill.models.loading import first_line, load_config, load_model, resolve_source
from distill.processor import length_multiple
from distill.reporting.size import num_parameters
from distill.tasks.question_answering.task import QuestionAnswering
from distill.types import UserError

BackendName = Literal["torch", "onnx"]

#: Precisions of each backend; the first is the default.
DTYPES: dict[BackendName, tuple[str, ...]] = {
    "torch": ("float32", "bfloat16", "float16"),
    "onnx": ("float32", "int8"),
}

#: What the widest activations of a batch may take on a CPU, in bytes: those of larger batches leave its caches (for 6
#: layers of 512 a tenth slower at three times as much), in smaller ones the calls cost more than the products.
CPU_ACTIVATIONS = 8 * 2**20
#: Tokens of a batch on an accelerator, which needs many to be busy.
ACCELERATOR_TOKENS = 32768


class Backend(Protocol):
    """Computes logits; may be called by several threads at once.

    Attributes:
        num_parameters: Parameters of the model, None where that cannot be told.
        tokens_per_batch: Tokens of a batch at which it works best.
        length_multiple: Windows are padded to a multiple of so many tokens.
    """

    num_parameters: int | None
    tokens_per_batch: int
    length_multiple: int

    def __call__(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """Return start and end logits, (B, S, 2), for ``input_ids`` and its companions, each (B, S)."""


def cpu_tokens(config: PreTrainedConfig) -> int:
    """Return how many tokens of a batch fill :data:`CPU_ACTIVATIONS` in float32, where a layer is widest."""
    width = getattr(config, "intermediate_size", 4 * config.hidden_size)
    return max(1, CPU_ACTIVATIONS // (4 * width))


class TorchBackend:
    """A transformers model in eval mode on one device."""

    def __init__(self, model: PreTrainedModel, device: torch.device | str = "cpu") -> None:
        self.task = QuestionAnswering()
        self.device = torch.device(device)
        self.model = model.eval().to(self.device)
        self.num_parameters: int | None = num_parameters(model)
        is_cpu = self.device.type == "cpu"
        self.tokens_per_batch = cpu_tokens(model.config) if is_cpu else ACCELERATOR_TOKENS
        self.length_multiple = length_multiple(self.device.type, is_float32=model.dtype == torch.float32)

    def __call__(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """Return the model's logits, on its device."""
        with torch.inference_mode():
            return self.task.logits(self.model(**{name: tensor.to(self.device) for name, tensor in inputs.items()}))


class OnnxBackend:
    """An exported file, run by onnxruntime."""

    def __init__(self, folder: str | Path, dtype: Literal["float32", "int8"] = "float32") -> None:
        from distill.export.runtime import OnnxModel

        self.task = QuestionAnswering()
        self.model = OnnxModel.load(folder, dtype)
        self.num_parameters: int | None = None
        self.tokens_per_batch = cpu_tokens(load_config(str(folder)))
        # Files of INT8 have float32 where the length counts.
        self.length_multiple = length_multiple("cpu", is_float32=True)

    def __call__(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """Return the file's logits, on the CPU."""
        return self.task.logits(self.model(**inputs))


def load_backend(source: str, backend: BackendName, dtype: str | None = None, device: str | int = "auto") -> Backend:
    """Load what computes the logits.

    Args:
        source: Folder, hub name or ``embedded``.
        backend: ``torch``, or ``onnx`` for a folder that ``export`` wrote.
        dtype: Precision, one of :data:`DTYPES`; float32 when left out.
        device: For PyTorch: ``auto`` (a GPU where there is one) or what :func:`resolve_device` takes.

    Raises:
        UserError: If the backend or its precision is unknown, or the model cannot be loaded or lacks its head.
    """
    if backend not in DTYPES:
        raise UserError(f"backend {backend!r} is unknown: choose among {', '.join(DTYPES)}")
    dtype = dtype or DTYPES[backend][0]
    if dtype not in DTYPES[backend]:
        raise UserError(f"dtype {dtype!r} is none of the {backend} backend: choose among {', '.join(DTYPES[backend])}")
    if backend == "onnx":
        if device not in ("auto", "cpu", -1):
            raise UserError(f"device {device}: the onnx backend runs on the CPU; leave the device out")
        return OnnxBackend(local_folder(source), "int8" if dtype == "int8" else "float32")
    target = resolve_device(device)
    model, missing = load_model(QuestionAnswering(), source, "model", dtype)
    if missing:
        raise UserError(
            f"model {source}: it has no weights for {', '.join(missing[:3])}; is its question_answering head missing?"
        )
    return TorchBackend(model, target)


def local_folder(source: str) -> Path:
    """Return the folder behind a source; what lies on the hub is brought here first.

    Raises:
        UserError: If there is no such folder or reachable hub model.
    """
    folder = Path(resolve_source(source))
    if folder.is_dir():
        return folder
    try:
        return Path(snapshot_download(source, allow_patterns=["*.json", "*.txt", "*.model", "onnx/*"]))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError, ValueError) as error:
        raise UserError(f"{source}: no folder or reachable hub model: {first_line(error)}") from error


def resolve_device(device: str | int) -> torch.device:
    """Return the device behind a name or, as transformers counts them, the number of a GPU (-1 for the CPU).

    Raises:
        UserError: If torch knows no such device, or this machine does not have it.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if isinstance(device, int):
        device = "cpu" if device < 0 else f"cuda:{device}"
    try:
        target = torch.device(device)
    except RuntimeError as error:
        raise UserError(f"device {device!r}: {first_line(error)}") from None
    if target.type == "cuda" and (target.index or 0) >= torch.cuda.device_count():
        raise UserError(f"device {device!r}: this machine has {torch.cuda.device_count()} GPUs that torch can use")
    return target
