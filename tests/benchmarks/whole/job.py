"""What every arm is given: a teacher, a student's first weights and questions; needs torch and transformers alone."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader
from transformers import AutoModelForQuestionAnswering, AutoTokenizer, PreTrainedModel


@dataclass(frozen=True)
class Settings:
    """How the student is trained.

    Attributes:
        max_length: Tokens of a window at most.
        doc_stride: Tokens that consecutive windows share.
        batch_size: Windows in a batch.
        num_epochs: Epochs of each of the two stages.
        learning_rate: The highest.
        temperature: Of the second stage.
        seed: Decides the order of batches.
    """

    max_length: int = 384
    doc_stride: int = 128
    batch_size: int = 8
    num_epochs: int = 2
    learning_rate: float = 1e-4
    temperature: float = 2.0
    seed: int = 0


@dataclass
class Laps:
    """Seconds of the parts of a job by both clocks."""

    wall: dict[str, float] = field(default_factory=dict)
    processor: dict[str, float] = field(default_factory=dict)
    _last: tuple[float, float] = field(default_factory=lambda: (time.perf_counter(), time.process_time()))

    def end(self, part: str) -> None:
        """Count everything since the last end as a part's."""
        now = time.perf_counter(), time.process_time()
        self.wall[part] = self.wall.get(part, 0.0) + now[0] - self._last[0]
        self.processor[part] = self.processor.get(part, 0.0) + now[1] - self._last[1]
        self._last = now


class Job:
    """A folder with ``teacher/``, ``student/``, ``train.json`` and ``settings.json``.

    Args:
        folder: The folder.
        arm: Whose job it is; its student is written into the folder of that name.
    """

    def __init__(self, folder: Path, arm: str) -> None:
        self.folder = folder
        self.settings = Settings(**json.loads((folder / "settings.json").read_text(encoding="utf-8")))
        self.teacher, self.student = folder / "teacher", folder / "student"
        self.train_file = folder / "train.json"
        self.result = folder / arm

    @property
    def num_layers(self) -> tuple[int, int]:
        """Layers of student and teacher."""
        student, teacher = (
            json.loads((model / "config.json").read_text(encoding="utf-8"))["num_hidden_layers"]
            for model in (self.student, self.teacher)
        )
        return student, teacher

    @property
    def layers(self) -> list[tuple[int, int]]:
        """Pairs of student and teacher layers, counted from 0: the last one of each block."""
        student, teacher = self.num_layers
        return [(layer, (layer + 1) * teacher // student - 1) for layer in range(student)]

    @property
    def states(self) -> list[tuple[int, int]]:
        """The states that these layers give."""
        return [(student + 1, teacher + 1) for student, teacher in self.layers]

    def load(self, model: Path, attention: str) -> PreTrainedModel:
        """Load a model of the job in float32."""
        loaded: PreTrainedModel = AutoModelForQuestionAnswering.from_pretrained(
            model, dtype=torch.float32, attn_implementation=attention
        )
        return loaded

    def load_teacher(self, attention: str) -> PreTrainedModel:
        """Load the teacher, frozen."""
        return self.load(self.teacher, attention).eval().requires_grad_(False)

    def padded_windows(self) -> list[dict[str, Tensor]]:
        """Return the questions as transformers' example cuts them: every window padded to the full length."""
        articles = json.loads(self.train_file.read_text(encoding="utf-8"))["data"]
        pairs = [
            (question["question"].strip(), paragraph["context"])
            for article in articles
            for paragraph in article["paragraphs"]
            for question in paragraph["qas"]
        ]
        encoded = AutoTokenizer.from_pretrained(self.teacher)(
            [question for question, _ in pairs],
            [context for _, context in pairs],
            truncation="only_second",
            max_length=self.settings.max_length,
            stride=self.settings.doc_stride,
            return_overflowing_tokens=True,
            return_offsets_mapping=True,
            padding="max_length",
        )
        names = ("input_ids", "attention_mask")
        return [{name: torch.tensor(encoded[name][row]) for name in names} for row in range(len(encoded["input_ids"]))]

    def padded_batches(self) -> DataLoader[Any]:
        """Return shuffled batches of the padded windows."""
        generator = torch.Generator().manual_seed(self.settings.seed)
        return DataLoader(self.padded_windows(), self.settings.batch_size, shuffle=True, generator=generator)  # type: ignore[arg-type]

    def adamw(self, model: torch.nn.Module) -> torch.optim.Optimizer:
        """Return the optimizer of what can be trained in a model."""
        parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
        return torch.optim.AdamW(parameters, lr=self.settings.learning_rate, fused=True)
