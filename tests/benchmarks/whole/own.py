"""This project's training, as its Trainer runs it, without what measures and reports."""

from __future__ import annotations

from functools import partial
from typing import Any

import lightning as L
import torch

from distill.callbacks.stages import StageSchedule
from distill.data.datamodule import SquadDataModule
from distill.models.student import Student
from distill.modules.distillation import DistillationModule
from distill.processor import fast_precision, prepare_processor
from distill.quiet import quieten_libraries
from distill.stages import Stage

from .job import Job, Laps

#: The terms of each stage; the losses are the defaults.
STAGES = {"layers": {"hidden": 1.0, "attention": 1.0}, "logits": {"logits": 1.0}}


def fastest(job: Job, laps: Laps) -> None:
    """In the precision that the hardware is fast in."""
    _fit(job, laps, fast_precision("cpu"))


def float32(job: Job, laps: Laps) -> None:
    """Held to float32."""
    _fit(job, laps, "32-true")


class Marks(L.Callback):
    """Ends a lap where a stage begins, before its teacher is made ready, and where the last one ends."""

    def __init__(self, laps: Laps) -> None:
        self.laps = laps
        self._stage: str | None = None

    def on_train_batch_start(self, trainer: L.Trainer, pl_module: Any, batch: Any, batch_idx: int) -> None:
        """Note a new stage."""
        stage = pl_module.active_stage.name
        if stage != self._stage:
            self.laps.end(self._stage or "preparation")
            self._stage = stage

    def on_train_end(self, trainer: L.Trainer, pl_module: Any) -> None:
        """Note the end."""
        self.laps.end(str(self._stage))


def _fit(job: Job, laps: Laps, precision: str) -> None:
    quieten_libraries()
    prepare_processor()
    settings, file = job.settings, [str(job.train_file)]
    data = SquadDataModule(
        tokenizer=str(job.student), train_files=file, validation_files=file, max_length=settings.max_length,
        doc_stride=settings.doc_stride, batch_size=settings.batch_size, seed=settings.seed,
        cache_dir=str(job.result / "cache"),
    )  # fmt: skip
    module = DistillationModule(
        str(job.teacher), Student(init=str(job.student)), optimizer=partial(torch.optim.AdamW, fused=True)
    )
    stages = {
        name: Stage(
            weights, epochs=settings.num_epochs, learning_rate=settings.learning_rate,
            temperature=settings.temperature,
        )
        for name, weights in STAGES.items()
    }  # fmt: skip
    trainer = L.Trainer(
        accelerator="cpu", devices=1, precision=precision, max_epochs=-1, gradient_clip_val=1.0,  # type: ignore[arg-type]
        callbacks=[StageSchedule(stages), Marks(laps)], limit_val_batches=0, num_sanity_val_steps=0,
        use_distributed_sampler=False, logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(module, datamodule=data)
    module.student.save_pretrained(job.result)
    laps.end("saving")
