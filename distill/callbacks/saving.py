"""Writing the result as a folder that transformers loads."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any, Literal

import lightning as L
import torch

from distill.reporting.files import run_folder


class SaveStudent(L.Callback):
    """Writes the result of a fit into ``student/`` of the run's folder: configuration, safetensors, tokenizer.

    The folder loads with ``AutoModelForQuestionAnswering`` and ``AutoTokenizer`` and holds neither teacher nor
    projections. Placed after :class:`~distill.callbacks.report.Report`, it holds the best weights.

    Args:
        dtype: Precision of the written weights.
    """

    def __init__(self, dtype: Literal["float32", "float16", "bfloat16"] = "float32") -> None:
        self.dtype = dtype

    def on_fit_end(self, trainer: L.Trainer, pl_module: Any) -> None:
        """Write the folder under a temporary name, then rename it."""
        folder = run_folder(trainer)  # asked on every process, since it may be agreed among them
        if folder is None or not trainer.is_global_zero:
            return
        folder.mkdir(parents=True, exist_ok=True)
        unfinished = Path(tempfile.mkdtemp(dir=folder, prefix=".student-"))
        dtype = getattr(torch, self.dtype)
        weights = {name: tensor.detach().cpu().to(dtype) for name, tensor in pl_module.student.state_dict().items()}
        pl_module.student.save_pretrained(unfinished, state_dict=weights)
        trainer.datamodule.tokenizer.save_pretrained(unfinished)  # type: ignore[attr-defined]
        unfinished.chmod(0o755)
        target = folder / "student"
        if target.exists():
            shutil.rmtree(target)
        unfinished.rename(target)
