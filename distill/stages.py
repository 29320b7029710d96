"""Stages: what a run trains when, as a pure function of progress, so that resuming cannot lose it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import accumulate
from typing import Any, Literal

from distill.types import UserError


@dataclass(frozen=True)
class Stage:
    """One part of a run, with its own objective and learning rate.

    Attributes:
        weights: Term name to weight; terms that are not named are off and cost nothing.
        epochs: Length in passes over the training data; give this or ``steps``.
        steps: Length in optimizer steps; give this or ``epochs``.
        temperature: Divides the logits of both models in logit distillation.
        learning_rate: The highest learning rate of the stage.
        warmup: Fraction of the stage's steps over which the rate rises from 0.
        decay: How the rate falls after warm-up: to 0 linearly or along a cosine, or not at all. Every stage has its own
            warm-up and decay.
        reset_optimizer: Whether the optimizer's moments are forgotten when the stage begins.
        data: What the stage trains on, where the data module holds several kinds; the task's own when left out. Its
            length is then given in steps, since epochs are those of the task's data.
        tasks: The tasks that it trains, of a run that has several; all of them when left out. Its epochs are passes
            over these tasks' data.
        balance: Scale the terms to equal size by their mean over this many first steps, of several tasks each task's by
            its own, so that weights are shares of the objective whatever the terms' units; raw values are summed when
            left out.
    """

    weights: dict[str, float] = field(default_factory=dict)
    epochs: float | None = None
    steps: int | None = None
    temperature: float = 1.0
    learning_rate: float = 5e-5
    warmup: float = 0.1
    decay: Literal["linear", "cosine", "constant"] = "linear"
    reset_optimizer: bool = True
    data: str | None = None
    tasks: list[str] | None = None
    balance: int | None = None

    def validate(self, name: str) -> None:
        """Check ranges.

        Raises:
            UserError: If a value is out of range; the message names the stage.
        """
        where = f"stage {name!r}"
        if (self.epochs is None) == (self.steps is None):
            raise UserError(f"{where}: give its length either as epochs or as steps")
        length = self.epochs if self.epochs is not None else self.steps
        if length is None or not 0 < length < math.inf:
            raise UserError(f"{where}: its length must be more than 0, not {length}")
        if self.data is not None and self.steps is None:
            raise UserError(f"{where}: give its length as steps, since epochs are those of the task's data")
        if self.tasks is not None and not self.tasks:
            raise UserError(f"{where}: tasks must name at least one task; leave it out for all of them")
        for setting, value in (("temperature", self.temperature), ("learning_rate", self.learning_rate)):
            if not 0 < value < math.inf:
                raise UserError(f"{where}: {setting} must be a finite number above 0, not {value}")
        if not 0 <= self.warmup < 1:
            raise UserError(f"{where}: warmup is a fraction in [0, 1), not {self.warmup}")
        if self.balance is not None and self.balance < 1:
            raise UserError(f"{where}: balance is a number of steps from 1, or null, not {self.balance}")

    def num_steps(self, steps_per_epoch: int) -> int:
        """Return the stage's length in optimizer steps, at least one."""
        if self.steps is not None:
            return self.steps
        assert self.epochs is not None
        return max(1, round(self.epochs * steps_per_epoch))


@dataclass(frozen=True)
class ActiveStage:
    """Where a run stands: the stage, and the optimizer steps done in it."""

    index: int
    name: str
    stage: Stage
    step: int
    num_steps: int

    @property
    def learning_rate(self) -> float:
        """The learning rate of the next step: linear warm-up to the stage's rate, then its decay to 0."""
        warmup_steps = round(self.stage.warmup * self.num_steps)
        if self.step < warmup_steps:
            return self.stage.learning_rate * (self.step + 1) / warmup_steps
        if self.stage.decay == "constant":
            return self.stage.learning_rate
        done = (self.step - warmup_steps) / max(1, self.num_steps - warmup_steps)
        if self.stage.decay == "linear":
            return self.stage.learning_rate * (1 - done)
        return self.stage.learning_rate * 0.5 * (1 + math.cos(math.pi * done))


@dataclass(frozen=True)
class StagePlan:
    """The stages of a run, by name and in order, laid out in optimizer steps.

    Attributes:
        stages: Name to stage.
        steps_per_epoch: Optimizer steps of an epoch of the run.
        own_epochs: Name of a stage to the steps of its own epoch, where that is another one.
    """

    stages: Mapping[str, Stage]
    steps_per_epoch: int
    own_epochs: Mapping[str, int] = field(default_factory=dict)

    @cached_property
    def lengths(self) -> list[int]:
        """Optimizer steps of each stage."""
        return [stage.num_steps(self.own_epochs.get(name, self.steps_per_epoch)) for name, stage in self.stages.items()]

    @property
    def total_steps(self) -> int:
        """Optimizer steps of all stages together."""
        return sum(self.lengths)

    def stage_at(self, step: int) -> ActiveStage:
        """Return the stage that optimizer step ``step`` (from 0) belongs to; past the end, the end of the last."""
        index = 0
        while index < len(self.stages) - 1 and step >= self.lengths[index]:
            step -= self.lengths[index]
            index += 1
        name, stage = list(self.stages.items())[index]
        return ActiveStage(index, name, stage, min(step, self.lengths[index]), self.lengths[index])

    def describe(self) -> list[dict[str, Any]]:
        """Return the stages as plain data for the report: name, first step, length and settings."""
        starts = [0, *accumulate(self.lengths)]
        return [
            {
                "name": name,
                "start_step": start,
                "num_steps": length,
                "weights": dict(stage.weights),
                "temperature": stage.temperature,
                "learning_rate": stage.learning_rate,
                "warmup": stage.warmup,
                "decay": stage.decay,
                "data": stage.data,
                **({"tasks": list(stage.tasks)} if stage.tasks is not None else {}),
                "balance": stage.balance,
            }
            for (name, stage), start, length in zip(self.stages.items(), starts, self.lengths, strict=False)
        ]
