"""What is compared: each recipe as its file has it, but for what must be equal and what must fit the models."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from itertools import accumulate
from pathlib import Path
from typing import Any

import yaml
from transformers import PreTrainedConfig

from distill.models.families import intermediate_size
from distill.models.recording import model_shape
from distill.models.student import INHERITED, LAYERS, RANDOM, Student
from distill.types import ModelShape, UserError

CONFIGS = Path(__file__).parents[3] / "configs" / "recipes"

#: MiniLMv2's relation heads are 16 wide.
RELATION_HEAD_WIDTH = 16

#: Settings by their dotted names.
Settings = dict[str, Any]


@dataclass(frozen=True)
class Sizes:
    """The student's sizes, the same in every arm; half the teacher's layers and its widths where left out."""

    num_layers: int | None = None
    hidden_size: int | None = None
    num_heads: int | None = None
    intermediate_size: int | None = None


@dataclass(frozen=True)
class Models:
    """The shapes that recipes are fitted to.

    Attributes:
        student: The student's.
        teacher: The teacher's.
        sizes: The student's sizes, all of them.
        own_start: ``init`` of a student that starts from this teacher.
    """

    student: ModelShape
    teacher: ModelShape
    sizes: Sizes
    own_start: str

    @classmethod
    def of(cls, sizes: Sizes, teacher: PreTrainedConfig) -> Models:
        """Return the shapes for a teacher's configuration."""
        num_layers = sizes.num_layers or teacher.num_hidden_layers // 2
        config = Student(**{**asdict(sizes), "num_layers": num_layers}).config(teacher)
        mine, other = (_all_sizes(each) for each in (config, teacher))
        is_narrower = mine != replace(other, num_layers=num_layers)
        return cls(model_shape(config), model_shape(teacher), mine, INHERITED if is_narrower else LAYERS)


def _all_sizes(config: PreTrainedConfig) -> Sizes:
    shape = model_shape(config)
    return Sizes(shape.num_layers, shape.hidden_size, shape.num_heads, intermediate_size(config))


@dataclass(frozen=True)
class Arm:
    """One way of teaching.

    Attributes:
        title: What the table calls it.
        recipe: The configuration under ``configs/recipes``.
        starts_from_teacher: Whether the student starts from the teacher's layers; from nothing otherwise.
        settings: What is changed in the recipe.
        fit: What has to be changed for models of other sizes than the recipe's.
    """

    title: str
    recipe: str
    starts_from_teacher: bool = False
    settings: Mapping[str, Any] = field(default_factory=dict)
    fit: Callable[[Models], Settings] = lambda _: {}

    def stage_lengths(self, num_steps: int) -> dict[str, int]:
        """Return the steps of each stage, in the proportions of the recipe's epochs, ``num_steps`` together."""
        recipe = yaml.safe_load((CONFIGS / f"{self.recipe}.yaml").read_text(encoding="utf-8"))
        epochs = {name: stage["epochs"] for name, stage in recipe["schedule"]["stages"].items()}
        if num_steps < len(epochs):
            raise UserError(f"{num_steps} steps are too few for the {len(epochs)} stages of {self.recipe}")
        ends = [round(num_steps * done / sum(epochs.values())) for done in accumulate(epochs.values())]
        starts = [0, *ends[:-1]]
        return {name: max(1, end - start) for name, start, end in zip(epochs, starts, ends, strict=True)}

    def overrides(self, models: Models, num_steps: int, learning_rate: float) -> Settings:
        """Return what is laid over the recipe."""
        stages: Settings = {}
        for name, length in self.stage_lengths(num_steps).items():
            stages |= {
                f"schedule.stages.{name}.epochs": None,
                f"schedule.stages.{name}.steps": length,
                f"schedule.stages.{name}.learning_rate": learning_rate,
            }
        init = models.own_start if self.starts_from_teacher else RANDOM
        student = {f"model.student.{name}": size for name, size in asdict(models.sizes).items()}
        return {**student, "model.student.init": init, **self.settings, **stages, **self.fit(models)}


def _every_fourth(models: Models) -> Settings:
    """Return the paper's layer map, layer i <- 4 i + 3 and state i <- 4 i, for another ratio than 4."""
    count, num_teacher = models.student.num_layers, models.teacher.num_layers
    if num_teacher % count:
        raise UserError(f"the paper's layer map needs a multiple of {count} layers, but the teacher has {num_teacher}")
    ratio = num_teacher // count
    layers = {
        "attention": [ratio * i + ratio - 1 for i in range(count)],
        "hidden": [ratio * i for i in range(count + 1)],
    }
    return {"model.layer_map": layers}


def _last_layers(models: Models) -> Settings:
    """Return MiniLMv2's relations for base models: the last layers, in heads of 16."""
    relations = "model.losses.relations.init_args"
    width = math.gcd(models.student.hidden_size, models.teacher.hidden_size)
    return {
        f"{relations}.num_relation_heads": max(1, width // RELATION_HEAD_WIDTH),
        f"{relations}.student_layer": -1,
        f"{relations}.teacher_layer": -1,
    }


#: The arms by name, in the table's order. ALBETO's: Cañete et al. (2024), logits alone at temperature 1.
ARMS = {
    "labels": Arm("labels only", "best", settings={"schedule.stages.logits.weights": {"labels": 1.0}}),
    "logits": Arm(
        "logits only (ALBETO)",
        "best",
        settings={"schedule.stages.logits.weights": {"logits": 1.0}, "schedule.stages.logits.temperature": 1.0},
    ),
    "paper": Arm("SpanishTinyRoBERTa", "spanish_tinyroberta", fit=_every_fourth),
    "paper_start": Arm("its losses, our start", "spanish_tinyroberta", True, fit=_every_fourth),
    "tinybert": Arm("TinyBERT", "tinybert"),
    "minilm": Arm("MiniLMv2", "minilm", fit=_last_layers),
    "best": Arm("best.yaml", "best", True),
}


def command_line(settings: Mapping[str, Any]) -> list[str]:
    """Return settings as arguments."""
    return [f"--{name}={value if isinstance(value, str) else json.dumps(value)}" for name, value in settings.items()]
