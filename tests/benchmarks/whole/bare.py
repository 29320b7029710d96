"""The loop that one would write by hand with transformers."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from tests.benchmarks.steps.workload import rows

from .job import Job, Laps


def loop(job: Job, laps: Laps) -> None:
    """All states and maps in eager attention, then logits, with the teacher in every step."""
    batches = job.padded_batches()
    teacher, student = job.load_teacher("eager"), job.load(job.student, "eager").train()
    laps.end("preparation")
    optimizer = job.adamw(student)
    for _ in range(job.settings.num_epochs):
        for batch in batches:
            with torch.no_grad():
                target = teacher(**batch, output_hidden_states=True, output_attentions=True)
            output = student(**batch, output_hidden_states=True, output_attentions=True)
            terms = [F.mse_loss(output.hidden_states[s], target.hidden_states[t]) for s, t in job.states]
            terms += [F.mse_loss(output.attentions[s], target.attentions[t]) for s, t in job.layers]
            _step(optimizer, torch.stack(terms).sum())
    laps.end("layers")
    teacher.set_attn_implementation("sdpa")
    student.set_attn_implementation("sdpa")
    optimizer = job.adamw(student)
    temperature = job.settings.temperature
    for _ in range(job.settings.num_epochs):
        for batch in batches:
            with torch.no_grad():
                target = teacher(**batch)
            output = student(**batch)
            student_log, teacher_log = (
                (rows(one) / temperature).log_softmax(-1).flatten(0, 1) for one in (output, target)
            )
            loss = temperature**2 * F.kl_div(student_log, teacher_log, reduction="batchmean", log_target=True)
            _step(optimizer, loss)
    laps.end("logits")
    student.save_pretrained(job.result)
    laps.end("saving")


def _step(optimizer: torch.optim.Optimizer, loss: torch.Tensor) -> None:
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
