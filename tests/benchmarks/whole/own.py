"""This project's training, as its Trainer runs it, with and without what checks, measures and reports."""

from __future__ import annotations

import json
import shutil
import sys
from contextlib import chdir, redirect_stdout
from functools import partial
from typing import Any

import lightning as L
import torch

from distill.callbacks.stages import StageSchedule
from distill.data.datamodule import SquadDataModule
from distill.files import write_json
from distill.models.student import Student
from distill.modules.distillation import DistillationModule
from distill.processor import fast_precision, prepare_processor
from distill.quiet import quieten_libraries
from distill.stages import Stage

from .job import Job, Laps

#: Questions that the whole command validates on, at most.
NUM_VALIDATED = 200
#: The terms of each stage; the losses are the defaults.
STAGES = {"layers": {"hidden": 1.0, "attention": 1.0}, "logits": {"logits": 1.0}}


def fastest(job: Job, laps: Laps) -> None:
    """In the precision that the hardware is fast in."""
    _fit(job, laps, fast_precision("cpu"))


def float32(job: Job, laps: Laps) -> None:
    """Held to float32."""
    _fit(job, laps, "32-true")


def command(job: Job, laps: Laps) -> None:
    """The whole command in float32, with all that it checks, validates, saves, measures and reports.

    It validates on the first questions that it trains on: what it finds there is of no interest, what it takes is.
    """
    from distill.cli import DistillCLI

    CommandMarks.laps = laps
    settings = job.settings
    job.result.mkdir()
    questions = json.loads(job.train_file.read_text(encoding="utf-8"))
    questions["data"] = [{**questions["data"][0], "paragraphs": questions["data"][0]["paragraphs"][:NUM_VALIDATED]}]
    write_json(job.result / "validation.json", questions)
    stages = {
        name: {
            "weights": weights, "epochs": settings.num_epochs, "learning_rate": settings.learning_rate,
            "temperature": settings.temperature,
        }
        for name, weights in STAGES.items()
    }  # fmt: skip
    options = {
        "model": "distill.DistillationModule", "model.teacher": job.teacher,
        "model.student": {"init": str(job.student)},
        "model.optimizer": "torch.optim.AdamW", "model.optimizer.fused": "true",
        "data": "distill.SquadDataModule", "data.train_files": job.train_file,
        "data.validation_files": job.result / "validation.json", "data.max_length": settings.max_length,
        "data.doc_stride": settings.doc_stride, "data.batch_size": settings.batch_size,
        "seed_everything": settings.seed,
        "data.cache_dir": job.result / "cache", "schedule.stages": stages, "trainer.accelerator": "cpu",
        "trainer.precision": "32-true", "trainer.gradient_clip_val": 1.0,
        "trainer.callbacks+": f"{__name__}.CommandMarks",
    }  # fmt: skip
    texts = {name: json.dumps(value) if isinstance(value, dict) else value for name, value in options.items()}
    with chdir(job.result), redirect_stdout(sys.stderr):
        DistillCLI(["fit", *(f"--{name}={text}" for name, text in texts.items())])
    (student,) = job.result.glob("**/student")
    shutil.copytree(student, job.result, dirs_exist_ok=True)
    laps.end("saving")


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


class CommandMarks(L.Callback):
    """Ends a lap where training begins and where a stage ends, with its last validation; a command builds it itself."""

    laps: Laps

    def on_train_start(self, trainer: L.Trainer, pl_module: Any) -> None:
        """Note the beginning."""
        self.laps.end("preparation")

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: Any) -> None:
        """Note the end of a stage, which is that of an epoch."""
        active = pl_module.active_stage
        if active.step + 1 == active.num_steps:
            self.laps.end(active.name)


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
