"""Building the student: its size by numbers, its first weights from chance or from a folder."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from lightning.pytorch.utilities import rank_zero_info
from transformers import PreTrainedConfig, PreTrainedModel

from distill.models.inheritance import check_not_wider, check_same_widths
from distill.models.initialisation import initialise_mimetic
from distill.models.loading import load_config, load_model
from distill.tasks.base import Task
from distill.types import UserError

#: The values of ``init`` that are no folder: every weight at random, with attention started mimetically, whole layers
#: of the teacher, or a narrower picture of them.
RANDOM = "random"
MIMETIC = "mimetic"
LAYERS = "layers"
INHERITED = "inherited"

#: The vocabulary of the training texts' own pieces.
TRIMMED = "trimmed"

Vocabulary = Literal["full", "trimmed"]


@dataclass(frozen=True)
class Student:
    """What the student looks like; every size that is left out is the teacher's.

    Attributes:
        num_layers: Transformer layers.
        hidden_size: Width of the hidden states; a multiple of ``num_heads``.
        num_heads: Attention heads. Attention losses need the teacher's number unless they say how to match others.
        intermediate_size: Width of the feed-forward layers; ``4 * hidden_size`` when only the width is given.
        dropout: Dropout on hidden states and attention; the teacher's when left out.
        attention_dropout: Dropout on attention alone; ``dropout``, else the teacher's, when left out. Above 0 a CPU
            computes attention without its fused kernel: 0 trains a quarter to a third faster there.
        init: ``random``; ``mimetic``, random with attention started on likeness and nearness; ``layers``, the teacher's
            embeddings, head and the layers that the layer map names; ``inherited``, the same for a student that is
            narrower; or a folder or hub model whose weights and sizes the student starts from.
        vocabulary: ``full``, or ``trimmed``: without the pieces that neither the training texts nor the data's
            ``vocabulary_files`` use.
    """

    num_layers: int | None = None
    hidden_size: int | None = None
    num_heads: int | None = None
    intermediate_size: int | None = None
    dropout: float | None = None
    attention_dropout: float | None = None
    init: str = RANDOM
    vocabulary: Vocabulary = "full"

    def __post_init__(self) -> None:
        """Check ranges."""
        for name in ("num_layers", "hidden_size", "num_heads", "intermediate_size"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UserError(f"student.{name} must be at least 1, not {value}")
        check_dropout(self.dropout, "student.dropout")
        check_dropout(self.attention_dropout, "student.attention_dropout")
        if self.vocabulary not in get_args(Vocabulary):
            raise UserError(f"student.vocabulary must be {' or '.join(get_args(Vocabulary))}, not {self.vocabulary}")

    @property
    def folder(self) -> str | None:
        """The folder or hub model that the student starts from, where it does."""
        return None if self.init in (RANDOM, MIMETIC, LAYERS, INHERITED) else self.init

    @property
    def inherits(self) -> bool:
        """Whether the student starts from the teacher's weights."""
        return self.init in (LAYERS, INHERITED)

    def config(self, teacher: PreTrainedConfig) -> PreTrainedConfig:
        """Return the student's configuration: the teacher's family with the student's sizes.

        Raises:
            UserError: If the width is not a multiple of the number of heads, the folder has other sizes, or the student
                cannot inherit from this teacher.
        """
        if self.folder is not None:
            config = load_config(self.folder)
            self._check_sizes(config)
        else:
            config = copy.deepcopy(teacher)
            config.architectures = None
            sizes = self._sizes()
            if "hidden_size" in sizes:
                sizes.setdefault("intermediate_size", 4 * sizes["hidden_size"])
            _set(config, sizes)
        if self.dropout is not None:
            _set(config, {"hidden_dropout": self.dropout})
        set_attention_dropout(config, self.dropout if self.attention_dropout is None else self.attention_dropout)
        if config.hidden_size % config.num_attention_heads:
            raise UserError(
                f"student.hidden_size {config.hidden_size} is not a multiple of "
                f"student.num_heads {config.num_attention_heads}"
            )
        if self.init == LAYERS:
            check_same_widths(config, teacher)
        elif self.init == INHERITED:
            check_not_wider(config, teacher)
        return config

    def build(self, task: Task, teacher: PreTrainedConfig) -> PreTrainedModel:
        """Build the student in training mode with its first weights, random ones where it is to inherit."""
        config = self.config(teacher)
        if self.folder is None:
            student = task.build_model(config).train()
            return initialise_mimetic(student) if self.init == MIMETIC else student
        student, missing = load_model(task, self.folder, "student", config=config)
        if missing:
            rank_zero_info("student: %s starts at random, since %s lacks it", ", ".join(missing), self.folder)
        return student.train()

    def _check_sizes(self, config: PreTrainedConfig) -> None:
        """Check that the sizes, where some are given beside a folder, are the folder's."""
        for name, size in self._sizes().items():
            theirs = next(getattr(config, known) for known in _CONFIG_NAMES[name] if hasattr(config, known))
            if theirs != size:
                raise UserError(f"student.init {self.init} has {name} {theirs}, not {size}; set student.{name} to null")

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


def check_dropout(rate: float | None, name: str) -> None:
    """Check that a rate of dropout, where one is given, is a share.

    Raises:
        UserError: If it is not.
    """
    if rate is not None and not 0 <= rate < 1:
        raise UserError(f"{name} must lie in [0, 1), not {rate}")


def set_attention_dropout(config: PreTrainedConfig, rate: float | None) -> None:
    """Set the dropout on attention, whatever the family calls it; None leaves it as it is."""
    if rate is not None:
        _set(config, {"attention_dropout": rate})


def _set(config: PreTrainedConfig, settings: Mapping[str, float]) -> None:
    """Set what the family has a name for."""
    for name, value in settings.items():
        known = next((known for known in _CONFIG_NAMES[name] if hasattr(config, known)), None)
        if known is None:
            raise UserError(f"student.{name}: the model family {config.model_type!r} has no such setting")
        setattr(config, known, value)
