"""Building the student: its size by numbers, its first weights from chance or from a folder."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass

from lightning.pytorch.utilities import rank_zero_info
from transformers import PreTrainedConfig, PreTrainedModel

from distill.models.initialisation import initialise_mimetic
from distill.models.loading import load_config, load_model
from distill.tasks.base import Task
from distill.types import UserError

#: The values of ``init`` that are no folder: every weight at random, or with attention started mimetically.
RANDOM = "random"
MIMETIC = "mimetic"


@dataclass(frozen=True)
class Student:
    """What the student looks like; every size that is left out is the teacher's.

    Attributes:
        num_layers: Transformer layers.
        hidden_size: Width of the hidden states; a multiple of ``num_heads``.
        num_heads: Attention heads. Attention losses need the teacher's number.
        intermediate_size: Width of the feed-forward layers; ``4 * hidden_size`` when only the width is given.
        dropout: Dropout on hidden states and attention; the teacher's when left out.
        init: ``random``; ``mimetic``, random with attention started on likeness and nearness; or a folder or hub model
            whose weights and sizes the student starts from.
    """

    num_layers: int | None = None
    hidden_size: int | None = None
    num_heads: int | None = None
    intermediate_size: int | None = None
    dropout: float | None = None
    init: str = RANDOM

    def __post_init__(self) -> None:
        """Check ranges."""
        for name in ("num_layers", "hidden_size", "num_heads", "intermediate_size"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UserError(f"student.{name} must be at least 1, not {value}")
        if self.dropout is not None and not 0 <= self.dropout < 1:
            raise UserError(f"student.dropout must lie in [0, 1), not {self.dropout}")
        if not self.starts_at_random and self._sizes():
            raise UserError(f"student.init {self.init} brings its own sizes; leave out {', '.join(self._sizes())}")

    @property
    def starts_at_random(self) -> bool:
        """Whether no pretrained weights are involved."""
        return self.init in (RANDOM, MIMETIC)

    def config(self, teacher: PreTrainedConfig) -> PreTrainedConfig:
        """Return the student's configuration: the teacher's family with the student's sizes.

        Raises:
            UserError: If the width is not a multiple of the number of heads.
        """
        if not self.starts_at_random:
            config = load_config(self.init)
        else:
            config = copy.deepcopy(teacher)
            config.architectures = None
            sizes = self._sizes()
            if "hidden_size" in sizes:
                sizes.setdefault("intermediate_size", 4 * sizes["hidden_size"])
            _set(config, sizes)
        if self.dropout is not None:
            _set(config, {"hidden_dropout": self.dropout, "attention_dropout": self.dropout})
        if config.hidden_size % config.num_attention_heads:
            raise UserError(
                f"student.hidden_size {config.hidden_size} is not a multiple of "
                f"student.num_heads {config.num_attention_heads}"
            )
        return config

    def build(self, task: Task, teacher: PreTrainedConfig) -> PreTrainedModel:
        """Build the student in training mode with its first weights."""
        config = self.config(teacher)
        if self.starts_at_random:
            student = task.build_model(config).train()
            return initialise_mimetic(student) if self.init == MIMETIC else student
        student, missing = load_model(task, self.init, "student", config=config)
        if missing:
            rank_zero_info("student: %s starts at random, since %s lacks it", ", ".join(missing), self.init)
        return student.train()

    def _sizes(self) -> dict[str, int]:
        names = ("num_layers", "hidden_size", "num_heads", "intermediate_size")
        return {name: getattr(self, name) for name in names if getattr(self, name) is not None}


#: transformers' names of our settings, the first one that a family has counts; DistilBERT's differ.
_CONFIG_NAMES = {
    "num_layers": ("num_hidden_layers",),
    "hidden_size": ("hidden_size",),
    "num_heads": ("num_attention_heads",),
    "intermediate_size": ("intermediate_size", "hidden_dim"),
    "hidden_dropout": ("hidden_dropout_prob", "dropout"),
    "attention_dropout": ("attention_probs_dropout_prob", "attention_dropout"),
}


def _set(config: PreTrainedConfig, settings: Mapping[str, float]) -> None:
    """Set what the family has a name for."""
    for name, value in settings.items():
        known = next((known for known in _CONFIG_NAMES[name] if hasattr(config, known)), None)
        if known is None:
            raise UserError(f"student.{name}: the model family {config.model_type!r} has no such setting")
        setattr(config, known, value)
