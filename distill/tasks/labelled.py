"""Tasks that give labels of a fixed list to texts or words, and bring their own reader and features."""

from __future__ import annotations

import copy
import re
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoConfig, PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

from distill.tasks.base import Task
from distill.types import UserError

#: Label of places that are neither trained nor scored.
IGNORED = -100

#: How many labels messages show of a list.
_SHOWN = 12

#: The names that transformers makes up where nobody named the classes.
_MADE_UP = re.compile(r"LABEL_\d+")


class LabelledTask(Task):
    """A task whose classes are the labels of a fixed list.

    It says how examples are read, cut and batched; ``distill.LabelledDataModule`` asks it for all of that, so a new
    task of this kind is a new folder of tasks and nothing else.

    Args:
        labels: The labels, in the order of the head's classes.

    Raises:
        UserError: If there are fewer than two, or one stands twice.
    """

    #: The library's class that makes a model with this task's head.
    auto_class: Any
    #: How the library's names of such models end.
    architecture: str

    def __init__(self, labels: Sequence[str]) -> None:
        if len(labels) < 2 or len(set(labels)) < len(labels):
            raise UserError(f"{type(self).__name__}: labels must be at least two and differ, not {list(labels)}")
        self.labels = tuple(labels)
        self.label_ids = {label: index for index, label in enumerate(self.labels)}

    @abstractmethod
    def read(self, files: Sequence[str | Path], require_labels: bool = True) -> tuple[list[Any], dict[str, int]]:
        """Return the examples of files, and counts of what was read for the report.

        Raises:
            UserError: If anything is wrong; the message names file and line.
        """

    @abstractmethod
    def read_hub(self, name: str, config: str | None, split: str) -> tuple[list[Any], dict[str, int]]:
        """Return the same of a hub data set's split, or of a local folder that ``datasets`` can load."""

    @abstractmethod
    def embedded(self, split: str) -> Path:
        """Return the file of the set that the package carries; ``split`` is ``train`` or ``dev``."""

    @abstractmethod
    def columns(
        self, examples: Sequence[Any], tokenizer: PreTrainedTokenizerBase, max_length: int, first_index: int = 0
    ) -> dict[str, list[Any]]:
        """Cut examples into windows, as columns with an entry for each window.

        Always ``example_index`` (counted from ``first_index``), ``input_ids`` and, where the tokenizer makes them,
        ``token_type_ids``; and ``is_cut``, whether tokens of the example were lost. A pure function.
        """

    @abstractmethod
    def batch_labels(
        self, rows: Mapping[str, Sequence[Any]], pad: Callable[[Sequence[Any], int], Tensor]
    ) -> dict[str, Tensor]:
        """Return ``Batch.labels`` for some rows of the columns; ``pad(values, filling)`` makes (B, S) of rows."""

    @abstractmethod
    def windows(self, rows: Mapping[str, Sequence[Any]], examples: Sequence[Any]) -> list[Any]:
        """Return ``Batch.windows`` for some rows, given the example of each."""

    def load_model(self, folder: str, **kwargs: Any) -> PreTrainedModel:
        """Load a pretrained model with this task's head, in float32 unless ``dtype`` says otherwise.

        Raises:
            UserError: If its head has other labels, or the same in another order.
        """
        given = kwargs.pop("config", None)
        config = self._labelled(AutoConfig.from_pretrained(folder) if given is None else given, folder)
        model: PreTrainedModel = self.auto_class.from_pretrained(
            folder, config=config, **{"dtype": torch.float32, **kwargs}
        )
        return model

    def build_model(self, config: Any) -> PreTrainedModel:
        """Build a model with this task's head and random weights, in float32."""
        model: PreTrainedModel = self.auto_class.from_config(self._with_labels(config), dtype=torch.float32)
        return model

    def _labelled(self, config: PreTrainedConfig, folder: str) -> PreTrainedConfig:
        """Return a model's configuration with our labels, after a look at its own where it has this task's head."""
        has_head = any(name.endswith(self.architecture) for name in config.architectures or ())
        names = [config.id2label[index] for index in sorted(config.id2label)]
        if has_head and names != list(self.labels) and not all(_MADE_UP.fullmatch(name) for name in names):
            raise UserError(f"{folder}: its labels are {names}; set the task's labels to these, in this order")
        return self._with_labels(config)

    def _with_labels(self, config: PreTrainedConfig) -> PreTrainedConfig:
        labelled = copy.deepcopy(config)
        labelled.id2label = dict(enumerate(self.labels))
        labelled.label2id = dict(self.label_ids)
        return labelled


def check_same_labels(saved: Sequence[str] | None, task: Task, name: str | None) -> None:
    """Check that a checkpoint's classes stand for the task's labels; the weights do not tell one order from another.

    Args:
        saved: The checkpoint's labels; None where it holds none, which is let through.
        task: What is predicted.
        name: What the task is called in a run of several.

    Raises:
        UserError: If the labels are others, or the same in another order.
    """
    if saved is None or tuple(saved) == task.labels:
        return
    place = "model.task" if name is None else f"model.tasks.{name}.task"
    same = [mine == theirs for mine, theirs in zip(task.labels, saved, strict=False)]
    first = same.index(False) if False in same else len(same)
    own, others = _excerpt(task.labels, first), _excerpt(saved, first)
    raise UserError(
        f"{place}: its labels are {own}; the checkpoint's are {others}: set labels to these, in this order, or name a "
        "checkpoint of your labels"
    )


def _excerpt(labels: Sequence[str], place: int) -> str:
    """Return a few labels from the first, or from just before a place far behind it."""
    start = max(0, place - 1) if place >= _SHOWN else 0
    end = start + _SHOWN
    text = ", ".join(labels[start:end]) or "none"
    return ("..., " if start else "") + text + (", ..." if len(labels) > end else "")
