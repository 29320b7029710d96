"""The loops that one would write by hand."""

from __future__ import annotations

from itertools import cycle

import torch
from torch import nn
from torch.nn import functional as F

from .workload import (
    STATES,
    STUDENT,
    TEACHER,
    TEMPERATURE,
    Stopwatch,
    adamw,
    batches,
    build,
    frozen_teacher,
    labels,
    rows,
)


def layers(stopwatch: Stopwatch) -> None:
    """Hidden states and logits against the teacher, under SDPA and without any attention term."""
    teacher, student = frozen_teacher(), build(STUDENT).train()
    projections = nn.ModuleList(nn.Linear(STUDENT[1], TEACHER[1]) for _ in STATES)
    optimizer = stopwatch.follow(adamw(student, projections))
    for batch in cycle(batches()):
        with torch.no_grad():
            target = teacher(**batch, output_hidden_states=True)
        output = student(**batch, output_hidden_states=True)
        loss = sum(
            F.mse_loss(projection(output.hidden_states[s]), target.hidden_states[t])
            for projection, (s, t) in zip(projections, STATES, strict=True)
        ) + distance(rows(output), rows(target))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def answers(stopwatch: Stopwatch) -> None:
    """The student on labels alone."""
    student = build(STUDENT).train()
    optimizer = stopwatch.follow(adamw(student))
    for batch, targets in cycle(zip(batches(), labels(), strict=True)):
        loss = student(**batch, **targets).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def distance(student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    """Return the KL divergence of (B, 2, S) logits, times the square of the temperature."""
    student_log, teacher_log = ((logits / TEMPERATURE).log_softmax(-1).flatten(0, 1) for logits in (student, teacher))
    return TEMPERATURE**2 * F.kl_div(student_log, teacher_log, reduction="batchmean", log_target=True)
