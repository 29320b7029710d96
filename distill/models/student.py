"""Building the student: its size by numbers, its first weights from chance or from a folder."""

from __future__ import annotations

import copy
from dataclasses import dataclass

from transformers import PreTrainedConfig, PreTrainedModel

from distill.models.loading import load_config, resolve_source
from distill.tasks.base import Task
from distill.types import UserError

#: The ``init`` that draws every weight at random.
RANDOM = "random"


@dataclass(frozen=True)
class Student:
    """What the student looks like; every size that is left out is the teacher's.

    Attributes:
        num_layers: Transformer layers.
        hidden_size: Width of the hidden states; a multiple of ``num_heads``.
        num_heads: Attention heads. Attention losses need the teacher's number.
        intermediate_size: Width of the feed-forward layers; ``4 * hidden_size`` when only the width is given.
        dropout: Dropout on hidden states and attention; the teacher's when left out.
        init: ``random``, or a folder or hub model whose weights and sizes the student starts from.
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
        if self.init != RANDOM and self._sizes():
            raise UserError(f"student.init {self.init} brings its own sizes; leave out {', '.join(self._sizes())}")

    def config(self, teacher: PreTrainedConfig) -> PreTrainedConfig:
        """Return the student's configuration: the teacher's family with the student's sizes.

        Raises:
            UserError: If the width is not a multiple of the number of heads.
        """
        if self.init != RANDOM:
            config = load_config(self.init)
        else:
            config = copy.deepcopy(teacher)
            config.architectures = None
            for name, value in self._sizes().items():
                setattr(config, _CONFIG_NAMES[name], value)
            if self.hidden_size is not None and self.intermediate_size is None:
                _set_intermediate(config, 4 * self.hidden_size)
            elif self.intermediate_size is not None:
                _set_intermediate(config, self.intermediate_size)
        if self.dropout is not None:
            config.hidden_dropout_prob = config.attention_probs_dropout_prob = self.dropout
        if config.hidden_size % config.num_attention_heads:
            raise UserError(
                f"student.hidden_size {config.hidden_size} is not a multiple of "
                f"student.num_heads {config.num_attention_heads}"
            )
        return config

    def build(self, task: Task, teacher: PreTrainedConfig) -> PreTrainedModel:
        """Build the student in training mode with its first weights."""
        if self.init == RANDOM:
            student = task.build_model(self.config(teacher))
        else:
            student = task.load_model(resolve_source(self.init))
        return student.train()

    def _sizes(self) -> dict[str, int]:
        return {name: getattr(self, name) for name in _CONFIG_NAMES if getattr(self, name) is not None}


#: transformers' names of our sizes; families with other names of their own map these themselves (``attribute_map``).
_CONFIG_NAMES = {
    "num_layers": "num_hidden_layers",
    "hidden_size": "hidden_size",
    "num_heads": "num_attention_heads",
}


def _set_intermediate(config: PreTrainedConfig, value: int) -> None:
    # DistilBERT is the one family that calls the feed-forward width otherwise and does not map the name.
    setattr(config, "hidden_dim" if config.model_type == "distilbert" else "intermediate_size", value)
