"""Answering from an ONNX file: an object that is called as a transformers model is, without transformers or weights."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from transformers.modeling_outputs import QuestionAnsweringModelOutput

from distill.types import UserError

#: Where an export folder keeps the graph of each precision.
ONNX_FILES = {"float32": "onnx/model.onnx", "int8": "onnx/model_int8.onnx"}

#: What a call may leave out, and what transformers then takes in its place.
_DEFAULTS: dict[str, Callable[[Tensor], Tensor]] = {
    "attention_mask": torch.ones_like,
    "token_type_ids": torch.zeros_like,
}


class OnnxModel(nn.Module):
    """A question-answering model that ONNX Runtime computes on the CPU, called like the model it was exported from.

    A module without parameters, so that evaluation and benchmark take it in place of a transformers model. Calls from
    several threads at once are safe.

    Args:
        file: The ONNX file.
        num_threads: Threads of each operation; as many as torch uses when left out.

    Raises:
        UserError: If the extra is not installed, or the file is missing or no ONNX graph.
    """

    def __init__(self, file: str | Path, num_threads: int | None = None) -> None:
        super().__init__()
        onnxruntime = import_onnxruntime()
        if not Path(file).is_file():
            raise UserError(f"{file}: there is no such ONNX file; write it with the command export")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads() if num_threads is None else num_threads
        options.inter_op_num_threads = 1
        # Threads that wait by spinning take the processor from other models in the same process.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 3
        try:
            self._session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
        except Exception as error:
            raise UserError(f"{file}: ONNX Runtime cannot load it: {str(error).splitlines()[0]}") from error
        #: What the graph takes, each (B, S) int64, in its order.
        self.input_names = tuple(node.name for node in self._session.get_inputs())

    @classmethod
    def load(
        cls, folder: str | Path, dtype: Literal["float32", "int8"] = "float32", num_threads: int | None = None
    ) -> OnnxModel:
        """Load the graph of an export folder, ``onnx/model.onnx`` or ``onnx/model_int8.onnx``.

        Raises:
            UserError: If the folder does not hold it, or the precision is unknown.
        """
        if dtype not in ONNX_FILES:
            raise UserError(f"dtype {dtype!r} is unknown to ONNX exports: choose one of {', '.join(ONNX_FILES)}")
        return cls(Path(folder) / ONNX_FILES[dtype], num_threads)

    def forward(self, **inputs: Tensor) -> QuestionAnsweringModelOutput:
        """Return ``start_logits`` and ``end_logits``, each (B, S) float32, on the device of the inputs.

        Args:
            inputs: ``input_ids``, (B, S), and where they are not trivial ``attention_mask`` and ``token_type_ids``:
                left out they are all ones and all zeros, and given to a model without token types these change
                nothing, all as in transformers.

        Raises:
            TypeError: If ``input_ids`` is missing, or there is something else.
        """
        if "input_ids" not in inputs:
            raise TypeError("input_ids is missing")
        if unknown := inputs.keys() - {"input_ids", *_DEFAULTS}:
            raise TypeError(f"the graph takes {', '.join(self.input_names)} and not {', '.join(sorted(unknown))}")
        input_ids = inputs["input_ids"]
        feed = {
            name: (inputs[name] if name in inputs else _DEFAULTS[name](input_ids)).to("cpu", torch.int64).numpy()
            for name in self.input_names
        }
        start_logits, end_logits = self._session.run(["start_logits", "end_logits"], feed)
        return QuestionAnsweringModelOutput(
            start_logits=torch.from_numpy(start_logits).to(input_ids.device),
            end_logits=torch.from_numpy(end_logits).to(input_ids.device),
        )


def import_onnxruntime() -> Any:
    """Import ONNX Runtime, which only the extra brings.

    Raises:
        UserError: If the extra is not installed.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise UserError("ONNX files need the package onnxruntime: pip install 'distill[export]'") from error
    return onnxruntime
