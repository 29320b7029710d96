"""Other tools, each through its own training loop where it has one: padded windows, float32, a cache where it has one.

The layers need eager attention, since their maps do; the logits are trained by a second call, in SDPA attention. What
is compared, and how, is that of the single steps in :mod:`tests.benchmarks.steps.peers`.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from typing import Any

from tests.benchmarks.steps.peers import (
    exposed_paths,
    modelopt_model,
    modelopt_step,
    textbrewer_matches,
    textbrewer_output,
    torchdistill_box,
    torchdistill_step,
)
from tests.benchmarks.steps.workload import Exposed

from .job import Job, Laps


def textbrewer(job: Job, laps: Laps) -> None:
    """TextBrewer: GeneralDistiller on layers, then BasicDistiller with cached logits."""
    from textbrewer import BasicDistiller, DistillationConfig, GeneralDistiller, TrainingConfig

    batches, epochs = job.padded_batches(), job.settings.num_epochs
    teacher, student = job.load_teacher("eager"), job.load(job.student, "eager").train()
    laps.end("preparation")
    matches = textbrewer_matches(job.states, job.layers, None)
    config = DistillationConfig(kd_loss_weight=0, hard_label_weight=0, intermediate_matches=matches)
    with tempfile.TemporaryDirectory() as folder:
        training = TrainingConfig(device="cpu", output_dir=folder, log_dir=None)
        distiller = GeneralDistiller(training, config, teacher, student, textbrewer_output, textbrewer_output)
        with distiller:
            distiller.train(
                job.adamw(student), batches, num_epochs=epochs, output_hidden_states=True, output_attentions=True
            )
        laps.end("layers")
        teacher.set_attn_implementation("sdpa")
        student.set_attn_implementation("sdpa")
        config = DistillationConfig(temperature=job.settings.temperature, hard_label_weight=0, is_caching_logits=True)
        distiller = BasicDistiller(training, config, teacher, student, textbrewer_output, textbrewer_output)
        with distiller:
            distiller.train(job.adamw(student), batches, num_epochs=epochs)
        laps.end("logits")
    student.save_pretrained(job.result)
    laps.end("saving")


def torchdistill(job: Job, laps: Laps) -> None:
    """torchdistill: a box on layers, then a box on logits; it keeps no outputs."""
    settings = job.settings

    def train(exposed: tuple[Exposed, Exposed], paths: list[str], temperature: float | None, batches: Any) -> None:
        box = torchdistill_box(*exposed, paths, temperature, settings.learning_rate, settings.num_epochs)
        for _ in range(settings.num_epochs):
            for batch in batches:
                torchdistill_step(box, batch)
        box.clean_modules()

    _in_two_stages(job, laps, train)


def modelopt(job: Job, laps: Laps) -> None:
    """modelopt: a wrapped student on layers, then on logits; it keeps no outputs."""
    from modelopt.torch import distill

    def train(exposed: tuple[Exposed, Exposed], paths: list[str], temperature: float | None, batches: Any) -> None:
        model = modelopt_model(*exposed, paths, temperature)
        optimizer = job.adamw(model)
        for _ in range(job.settings.num_epochs):
            for batch in batches:
                modelopt_step(model, optimizer, batch)
        distill.export(model)

    _in_two_stages(job, laps, train)


def _in_two_stages(job: Job, laps: Laps, train: Callable[..., None]) -> None:
    """Train on layers, then on logits; ``train`` gets both models, what is compared of them, and the batches."""
    batches = job.padded_batches()
    student = job.load(job.student, "eager")
    teacher = job.load_teacher("eager")
    laps.end("preparation")
    for stage in ("layers", "logits"):
        exposed = _exposed(job, teacher, student, stage)
        compared = ([], job.settings.temperature) if stage == "logits" else (exposed_paths(exposed[1]), None)
        train(exposed, *compared, batches)
        laps.end(stage)
    student.save_pretrained(job.result)
    laps.end("saving")


def _exposed(job: Job, teacher: object, student: object, stage: str) -> tuple[Exposed, Exposed]:
    """Return teacher and student whose mapped states and maps, or logits alone, hooks can reach."""
    attention, states, layers = ("eager", job.states, job.layers) if stage == "layers" else ("sdpa", [], [])
    for model in (teacher, student):
        model.set_attn_implementation(attention)  # type: ignore[attr-defined]
    exposed = [
        Exposed(model, [pair[i] for pair in states], [pair[i] for pair in layers], None)  # type: ignore[arg-type]
        for model, i in ((teacher, 1), (student, 0))
    ]
    return exposed[0].eval(), exposed[1].train()
