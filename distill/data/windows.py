"""Windows on disk, windows in memory, windows in a batch."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import datasets
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset
from transformers import PreTrainedTokenizerBase

from distill.data.columns import Columns
from distill.files import new_folder
from distill.processor import LENGTH_MULTIPLE
from distill.text.packing import backend_state
from distill.types import AverageBatch, Batch, Example, Window

#: Raised whenever the columns of a cached table change their meaning, so that older caches are not read.
CACHE_VERSION = 1


def question_key(example: Example) -> object:
    """Return what windows of a question depend on."""
    return example.question_id, example.question, example.context, example.answers


def fingerprint(
    examples: Sequence[Any],
    tokenizer: PreTrainedTokenizerBase,
    settings: dict[str, Any],
    key: Callable[[Any], object] = question_key,
) -> str:
    """Return a hash of everything that windows depend on: the texts, the tokenizer and the window settings.

    ``key`` tells of an example what its windows depend on.
    """
    versions = [CACHE_VERSION, tokenizer.model_input_names, tokenizer.padding_side, settings]
    digest = hashlib.sha256(json.dumps(versions, sort_keys=True).encode())
    digest.update(json.dumps(backend_state(tokenizer), sort_keys=True).encode())
    for example in examples:
        digest.update(repr(key(example)).encode())
    return digest.hexdigest()[:32]


def cached_windows(
    build: Callable[[Sequence[Any], int], dict[str, list[Any]]],
    examples: Sequence[Any],
    folder: Path,
    num_workers: int = 0,
) -> datasets.Dataset:
    """Return the table of windows in ``folder``, building it there first if it is absent.

    The table is written beside its place and renamed, so that a killed run or a second run at the same time leaves
    either no table or a whole one.

    Args:
        build: Makes the columns of a slice of examples, given the slice and the index of its first example.
        examples: All examples.
        folder: Where the table lies; its name must carry the fingerprint.
        num_workers: Processes that tokenise; 0 stays in this one.
    """
    if not folder.exists():

        def columns(rows: dict[str, list[int]]) -> dict[str, list[Any]]:
            indices = rows["index"]
            return build(examples[indices[0] : indices[-1] + 1], indices[0])

        table = datasets.Dataset.from_dict({"index": list(range(len(examples)))})
        with _no_progress_bars():
            windows = table.map(
                columns,
                batched=True,
                batch_size=500,
                remove_columns=["index"],
                num_proc=num_workers or None,
                load_from_cache_file=False,
                keep_in_memory=True,
            )
        try:
            with _no_progress_bars(), new_folder(folder) as unfinished:
                windows.save_to_disk(str(unfinished))
        except OSError:
            if not folder.exists():  # else another process was faster, and its table is the same
                raise
    return datasets.load_from_disk(str(folder))


class Collate(Protocol):
    """Makes batches of rows of a table of windows."""

    def __call__(
        self, rows: Mapping[str, Sequence[Any]], window_ids: Sequence[int], examples: Sequence[Any] | None
    ) -> Batch:
        """Return a batch, given the rows' identifiers and, where decoding needs them, all examples."""
        ...

    def widths(self, lengths: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return how long windows of some lengths become in a batch of their own."""
        ...


class WindowDataset(Dataset[Batch]):
    """A table of windows and the examples they were cut from; indexing by a list of windows gives a padded batch."""

    def __init__(
        self,
        table: datasets.Dataset,
        examples: Sequence[Any],
        collate: Collate,
        max_length: int,
        with_windows: bool,
        fingerprint: str,
    ) -> None:
        """Open a table of windows.

        Args:
            table: The windows.
            examples: What they were cut from.
            collate: Makes a batch of rows of the table.
            max_length: Tokens of a window at most.
            with_windows: Adds what decoding needs to every batch.
            fingerprint: Hash of everything that the windows depend on.
        """
        self.examples = examples
        self.fingerprint = fingerprint
        self.max_length = max_length
        #: What batches hold on average, where they hold more or less on purpose.
        self.average: AverageBatch | None = None
        self.with_windows = with_windows
        self._num_windows = len(table)
        self._columns = Columns(table)
        self._collate = collate
        self.lengths: NDArray[np.int64] = self._columns["input_ids"].lengths
        self.example_indices: NDArray[np.int64] = np.asarray(
            table.data.column("example_index").to_numpy(), dtype=np.int64
        )

    def __len__(self) -> int:
        return self._num_windows

    def __getitem__(self, window_ids: list[int]) -> Batch:
        return self._collate(self._columns.rows(window_ids), window_ids, self.examples if self.with_windows else None)

    @property
    def widths(self) -> NDArray[np.int64]:
        """How long each window becomes in a batch of its like, (M,)."""
        return self._collate.widths(self.lengths)


class RowPadder:
    """Pads rows of tokens into batches, on the side that the tokenizer pads."""

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        max_length: int,
        pad_to_max_length: bool = False,
        length_multiple: int = LENGTH_MULTIPLE,
    ) -> None:
        """Set how long rows become.

        Args:
            tokenizer: Says what they are padded with, and on which side.
            max_length: Bounds the padded length, or is it with ``pad_to_max_length``.
            pad_to_max_length: Whether all batches are equally long.
            length_multiple: Lengths are rounded up to a multiple of this.
        """
        self.max_length = max_length
        self.pad_to_max_length = pad_to_max_length
        self.length_multiple = length_multiple
        self._pad_ids = {"input_ids": tokenizer.pad_token_id, "token_type_ids": tokenizer.pad_token_type_id}
        self._padding_left = tokenizer.padding_side == "left"

    def inputs(self, rows: Mapping[str, Sequence[Any]]) -> dict[str, Tensor]:
        """Return what the encoder takes, each (B, S)."""
        inputs = {name: self.pad(rows, rows[name], value) for name, value in self._pad_ids.items() if name in rows}
        inputs["attention_mask"] = self.pad(rows, [np.ones(n, np.int64) for n in _lengths(rows)], 0)
        return inputs

    def pad(self, rows: Mapping[str, Sequence[Any]], values: Sequence[Any], filling: int) -> Tensor:
        """Return (B, S) int64 of one value for each token of each row, with ``filling`` at padding."""
        width = int(self.widths(_lengths(rows)).max())
        padded = np.full((len(values), width), filling, dtype=np.int64)
        for target, row in zip(padded, values, strict=True):
            if self._padding_left:
                target[width - len(row) :] = row
            else:
                target[: len(row)] = row
        return torch.from_numpy(padded)

    def shifts(self, rows: Mapping[str, Sequence[Any]]) -> NDArray[np.int64]:
        """Return how far padding moves the tokens of each row, (B,)."""
        lengths = _lengths(rows)
        return int(self.widths(lengths).max()) - lengths if self._padding_left else np.zeros_like(lengths)

    def widths(self, lengths: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return how long windows of some lengths become in a batch of their own."""
        if self.pad_to_max_length:
            return np.full_like(lengths, self.max_length)
        return np.minimum(-(-lengths // self.length_multiple) * self.length_multiple, self.max_length)


class WindowPadder(RowPadder):
    """Pads windows of questions and contexts into batches."""

    def __call__(
        self, rows: Mapping[str, Sequence[Any]], window_ids: Sequence[int], examples: Sequence[Example] | None
    ) -> Batch:
        """Return one batch.

        Args:
            rows: Columns of ``build_windows``, for the windows of the batch alone.
            window_ids: Their identifiers.
            examples: All examples, to give the batch its windows; None for a batch without.
        """
        shifts = self.shifts(rows)
        labels = {
            f"{name}s": torch.as_tensor(np.asarray(rows[name], dtype=np.int64) + shifts)
            for name in ("start_position", "end_position")
        }
        windows = [] if examples is None else self._windows(rows, window_ids, examples, shifts)
        return Batch(self.inputs(rows), labels, torch.as_tensor(window_ids), windows)

    def _windows(
        self,
        rows: Mapping[str, Sequence[Any]],
        window_ids: Sequence[int],
        examples: Sequence[Example],
        shifts: NDArray[np.int64],
    ) -> list[Window]:
        return [
            Window(
                window_id=int(window_id),
                example=examples[int(rows["example_index"][i])],
                context_token=(int(rows["context_start"][i] + shifts[i]), int(rows["context_end"][i] + shifts[i])),
                offsets=np.stack((rows["offset_starts"][i], rows["offset_ends"][i]), axis=1),
            )
            for i, window_id in enumerate(window_ids)
        ]


def _lengths(rows: Mapping[str, Sequence[Any]]) -> NDArray[np.int64]:
    return np.asarray([len(ids) for ids in rows["input_ids"]], dtype=np.int64)


class _no_progress_bars:  # noqa: N801 - reads as a statement
    """Silences the bars of ``datasets`` for tables that take a second; leaves the user's setting as it was."""

    def __enter__(self) -> None:
        self.were_enabled = datasets.are_progress_bars_disabled() is False
        datasets.disable_progress_bars()

    def __exit__(self, *error: object) -> None:
        if self.were_enabled:
            datasets.enable_progress_bars()
