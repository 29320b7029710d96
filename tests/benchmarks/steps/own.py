"""This project's module, in a bare loop."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Mapping
from itertools import cycle
from pathlib import Path

import numpy as np
import torch

from distill.losses.attention import AttentionLoss
from distill.models.student import Student
from distill.modules.distillation import DistillationModule, default_losses
from distill.teaching.teachers import TeachingRun
from distill.types import Batch

from .workload import (
    BATCH_SIZE,
    LENGTH,
    NUM_BATCHES,
    NUM_HEADS,
    STUDENT,
    TEMPERATURE,
    Stopwatch,
    adamw,
    batches,
    frozen_teacher,
    labels,
)

#: What is compared with the teacher's layers, and what with its logits.
LAYERS = {"hidden": 1.0, "attention": 1.0, "logits": 1.0}
ANSWERS = {"logits": 1.0, "labels": 0.5}


class Windows:
    """The batches as training windows that are the same every epoch."""

    fingerprint = "benchmark"
    lengths = widths = np.full(NUM_BATCHES * BATCH_SIZE, LENGTH)

    def __init__(self) -> None:
        self.inputs = {name: torch.cat([batch[name] for batch in batches()]) for name in batches(1)[0]}
        self.labels = {name: torch.cat([batch[name] for batch in labels()]) for name in labels(1)[0]}

    def __getitem__(self, window_ids: list[int]) -> Batch:
        ids = torch.tensor(window_ids)
        inputs, targets = ({name: values[ids] for name, values in part.items()} for part in (self.inputs, self.labels))
        return Batch(inputs, targets, ids)


def layers(stopwatch: Stopwatch) -> None:
    """Hidden states, attention scores and logits against the running teacher."""
    _run(stopwatch, LAYERS, "scores")


def layers_probabilities(stopwatch: Stopwatch) -> None:
    """The same with attention probabilities, as the other tools compare them."""
    _run(stopwatch, LAYERS, "probabilities")


def answers(stopwatch: Stopwatch) -> None:
    """Logits against those stored of the teacher, and labels."""
    _run(stopwatch, ANSWERS)


def _run(stopwatch: Stopwatch, weights: Mapping[str, float], target: str = "scores") -> None:
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory() as folder:
        frozen_teacher().save_pretrained(f"{folder}/teacher")
        num_layers, hidden_size, intermediate_size = STUDENT
        student = Student(num_layers, hidden_size, NUM_HEADS, intermediate_size, dropout=0.0)
        losses = {**default_losses(), "attention": AttentionLoss(target)}  # type: ignore[arg-type]
        module = DistillationModule(f"{folder}/teacher", student, losses=losses)
        module.configure_model()
        windows = Windows()
        assert module._teachers is not None
        module._teachers.prepare(
            module.objective.plans(weights)[1], TeachingRun(windows, Path(folder), torch.device("cpu"))
        )
        module.train()
        optimizer = stopwatch.follow(adamw(module))
        for first in cycle(range(0, NUM_BATCHES * BATCH_SIZE, BATCH_SIZE)):
            batch = windows[list(range(first, first + BATCH_SIZE))]
            shares = module.shares(batch, weights, TEMPERATURE)
            loss = torch.stack([weights[name] * share.loss for name, share in shares.items()]).sum()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
