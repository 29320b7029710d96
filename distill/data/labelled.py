"""The data module for tasks with a fixed list of labels: tagged words, classified texts and pairs of texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch.utilities import rank_zero_info
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerBase

from distill.data.windowed import WindowedDataModule
from distill.data.windows import RowPadder, WindowDataset, cached_windows, fingerprint
from distill.files import Paths
from distill.models.loading import EMBEDDED
from distill.tasks.base import Task
from distill.tasks.labelled import LabelledTask
from distill.types import Batch, UserError

#: Which hub split serves a part that no files were named for, unless ``hub_splits`` says otherwise.
HUB_SPLITS = {"train": "train", "validation": "validation", "test": "test"}

#: Tokens of a window at least: special ones, and a few of the text.
_LEAST_LENGTH = 8


class LabelledDataModule(WindowedDataModule):
    """Tagged sentences, classified texts or pairs, as padded batches of windows of similar length.

    Each part comes from its files where files are named, else from ``dataset``: ``embedded`` is the small Spanish set
    that the package carries for the task (its dev part serves validation and test), any other name is a hub data set.
    What the task reads and cuts is kept under ``cache_dir``, keyed by the texts, the tokenizer and the settings.

    Args:
        task: What is predicted; linked to the model, so never set by hand.
        tokenizer: Folder or hub name whose tokenizer cuts the text; linked to the model, so never set by hand.
        dataset: ``embedded``, a hub name, or nothing when files are named for every part in use.
        dataset_config: Configuration of the hub data set.
        hub_splits: Part to split of the hub data set, where they are not called ``train``, ``validation``, ``test``.
        train_files: Files in a form that the task reads, or folders of them.
        validation_files: The same, for choosing the best checkpoint.
        test_files: The same, for the ``test`` command; the validation part when neither these nor a hub set are named.
        predict_files: The same, for the ``predict`` command; labels are not needed.
        max_length: Tokens of a window at most, special tokens included.
        batch_size: Windows in a training batch, per process.
        eval_batch_size: Windows in an evaluation batch, per process.
        seed: Decides the order of training batches.
        num_workers: Processes that prepare batches; 0 stays in the main one.
        cache_dir: Where tokenised windows are kept.
        max_tokens: In place of ``batch_size``, tokens of a training batch at most, padding included, per process: many
            short windows or few long ones. Each term weighs a batch by its items (windows, tokens or pairs), so that
            the steps of an epoch add up to the mean over all of it.

    Raises:
        UserError: If there is no task with labels, a number is out of range, or ``hub_splits`` names no known part.
    """

    def __init__(
        self,
        task: LabelledTask | None = None,
        tokenizer: str = EMBEDDED,
        dataset: str | None = EMBEDDED,
        dataset_config: str | None = None,
        hub_splits: dict[str, str] | None = None,
        train_files: Paths | None = None,
        validation_files: Paths | None = None,
        test_files: Paths | None = None,
        predict_files: Paths | None = None,
        max_length: int = 128,
        batch_size: int = 32,
        eval_batch_size: int = 64,
        seed: int = 0,
        num_workers: int = 0,
        cache_dir: str = "~/.cache/distill",
        max_tokens: int | None = None,
    ) -> None:
        files = (train_files, validation_files, test_files, predict_files)
        super().__init__(
            tokenizer,
            dataset,
            dataset_config,
            files,
            max_length,
            batch_size,
            eval_batch_size,
            seed,
            num_workers,
            cache_dir,
            max_tokens,
        )
        if max_length < _LEAST_LENGTH:
            raise UserError(f"data.max_length must be at least {_LEAST_LENGTH}, not {max_length}")
        unknown = next((part for part in hub_splits or {} if part not in HUB_SPLITS), None)
        if unknown is not None:
            raise UserError(f"data.hub_splits: no part {unknown!r}; name {', '.join(HUB_SPLITS)} on the left")
        self._task = task
        self.hub_splits = {**HUB_SPLITS, **(hub_splits or {})}

    @property
    def task(self) -> LabelledTask:
        """What is predicted, by which the data is read and cut.

        Raises:
            UserError: If there is no task with labels.
        """
        if self._task is None:
            raise UserError(
                "texts with labels need a task of the model that has some, such as distill.TokenClassification: name it"
                " with model.task, or, of several, under the same name in model.tasks"
            )
        return self._task

    def take_tasks(self, tasks: Mapping[str | None, Task]) -> None:
        """Read and cut by the model's task, unless there is one already."""
        if self._task is None and isinstance(task := tasks.get(None), LabelledTask):
            self._task = task

    def check(self) -> None:
        """Check that there is a task, and that the tokenizer gives offsets, which loading it does."""
        assert self.task is not None
        assert self.tokenizer.is_fast

    def _settings(self) -> dict[str, Any]:
        return {"max_length": self.max_length, "labels": list(self.task.labels)}

    def _load(self, split: str) -> None:
        if split in self._windows:
            return
        examples, counts = self._read(split)
        settings = {"task": self.task.name, "labels": self.task.labels, "max_length": self.max_length}
        key = fingerprint(examples, self.tokenizer, settings, key=repr)
        build = partial(_columns, task=self.task, tokenizer=self.tokenizer, max_length=self.max_length)
        table = cached_windows(build, examples, self.cache_dir / f"windows-{key}", self.num_workers)
        collate = LabelledCollate(
            self.task, RowPadder(self.tokenizer, self.max_length, length_multiple=self.length_multiple)
        )
        self._windows[split] = WindowDataset(
            table, examples, collate, self.max_length, with_windows=split != "train", fingerprint=key
        )
        cut = int(np.asarray(table["is_cut"], dtype=bool).sum())
        self._counts[split] = {**counts, "examples_cut": cut}
        rank_zero_info("%s: %s", split, self._source(split))
        rank_zero_info("%s: %s", split, ", ".join(f"{number:,} {_words(name)}" for name, number in counts.items()))
        if cut:
            rank_zero_info("%s: cut %d examples to %d tokens", split, cut, self.max_length)
        rank_zero_info("%s: %d examples in %d windows", split, len(examples), len(table))

    def _read_files(self, files: Sequence[str | Path], split: str) -> tuple[list[Any], dict[str, int]]:
        return self.task.read(files, require_labels=split != "predict")

    def _read_embedded(self, name: str) -> tuple[list[Any], dict[str, int]]:
        return self.task.read([self.task.embedded(name)])

    def _read_hub(self, dataset: str, split: str) -> tuple[list[Any], dict[str, int]]:
        return self.task.read_hub(dataset, self.dataset_config, self.hub_splits[split])


class LabelledCollate:
    """Makes batches of the rows of a task's columns.

    Args:
        task: Says what labels and windows are.
        padder: Pads.
    """

    def __init__(self, task: LabelledTask, padder: RowPadder) -> None:
        self.task = task
        self.padder = padder

    def widths(self, lengths: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return how long windows of some lengths become in a batch of their own."""
        return self.padder.widths(lengths)

    def __call__(
        self, rows: Mapping[str, Sequence[Any]], window_ids: Sequence[int], examples: Sequence[Any] | None
    ) -> Batch:
        """Return one batch; ``examples`` are all of them, None for a batch without windows."""
        labels = self.task.batch_labels(rows, partial(self.padder.pad, rows))
        own = [] if examples is None else [examples[int(index)] for index in rows["example_index"]]
        windows = [] if examples is None else self.task.windows(rows, own)
        return Batch(self.padder.inputs(rows), labels, torch.as_tensor(window_ids), windows)


def _columns(
    examples: Sequence[Any], first_index: int, task: LabelledTask, tokenizer: PreTrainedTokenizerBase, max_length: int
) -> dict[str, list[Any]]:
    return task.columns(examples, tokenizer, max_length, first_index)


def _words(name: str) -> str:
    return name.replace("_", " ")
