"""Writing the result as a folder that transformers loads."""

from __future__ import annotations

from copy import deepcopy
from typing import Any, Literal

import lightning as L
import torch

from distill.callbacks.report import Report, find_callback
from distill.files import new_folder, write_json, write_text
from distill.models.saving import save_heads
from distill.reporting.backbone_card import build_backbone_card
from distill.reporting.files import run_folder
from distill.tasks.masked_language import MaskedLanguage


class SaveStudent(L.Callback):
    """Writes the result of a fit into ``student/`` of the run's folder: configuration, safetensors, tokenizer.

    The folder loads with the task's ``AutoModel`` class (``AutoModelForQuestionAnswering``, ``AutoModelForMaskedLM``)
    and ``AutoTokenizer`` and holds neither teacher nor projections; a run of another task may start from it, with a new
    head. Placed after :class:`~distill.callbacks.report.Report`, it holds the best weights. What the student took over
    from its teacher, if it did, is told tensor by tensor in ``inheritance.json`` beside them. A masked-language model,
    which ``export`` does not take, gets a model card of the run's report, ``README.md``.

    Of a run of several tasks ``student/`` holds a folder for each task and ``encoder``, whose weights all of them take
    from there, see :func:`~distill.models.saving.save_heads`.

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
        members = pl_module.members
        students = {name: member.student for name, member in members.items()}
        # Copied together, so that they still share what they share.
        students = {name: student.to("cpu", getattr(torch, self.dtype)) for name, student in deepcopy(students).items()}
        tokenizer = trainer.datamodule.tokenizer  # type: ignore[attr-defined]
        # A setting of the latest call, which would be saved with it.
        tokenizer.backend_tokenizer.no_truncation()
        with new_folder(folder / "student", replace=True) as unfinished:
            if None in students:
                students[None].save_pretrained(unfinished)
                tokenizer.save_pretrained(unfinished)
            else:
                save_heads(students, tokenizer, unfinished)
            for name, member in members.items():
                if (inheritance := getattr(member, "inheritance", None)) is not None:
                    write_json(unfinished / (name or "") / "inheritance.json", inheritance.as_dict())
            report = find_callback(trainer, Report)
            if None in students and isinstance(members[None].task, MaskedLanguage) and report and report.report:
                config = folder / "config.yaml"
                card = build_backbone_card(
                    report.report,
                    students[None].config.to_dict(),
                    teacher=getattr(members[None], "teacher_source", None),
                    config=config.read_text(encoding="utf-8") if config.is_file() else None,
                )
                write_text(unfinished / "README.md", card)
