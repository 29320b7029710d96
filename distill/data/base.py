"""What every data module shares: a tokenizer, parts that are prepared once, loaders of whole batches."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.utilities import rank_zero_info
from torch.utils.data import DataLoader, Dataset, Sampler
from transformers import PreTrainedTokenizerBase

from distill.data.identity import Identity, check_unchanged
from distill.data.sampling import PassSampler
from distill.data.training import TrainingLoader
from distill.data.workers import leave_signals_to_the_run
from distill.models.loading import load_tokenizer
from distill.tasks.base import Task
from distill.types import Batch, UserError

#: The parts of the data.
SPLITS = ("train", "validation", "test", "predict")

#: Which parts each command of the Trainer needs.
_SPLITS_OF_STAGE = {
    "fit": ("train", "validation"),
    "validate": ("validation",),
    "test": ("test",),
    "predict": ("predict",),
}


def by_task(loaders: Any) -> Mapping[str | None, DataLoader[Batch]]:
    """Return the loaders of a data module by the names of its :attr:`~TaskDataModule.parts`."""
    return loaders if isinstance(loaders, Mapping) else {None: loaders}


class TaskDataModule(L.LightningDataModule, ABC):
    """Batches of one task's data, cut by the tokenizer of the model.

    Args:
        tokenizer: Folder or hub name whose tokenizer cuts the text.
        batch_size: Items in a training batch, per process.
        eval_batch_size: Items in an evaluation batch, per process.
        seed: Decides the order of training batches.
        num_workers: Processes that prepare batches; 0 stays in the main one.
        cache_dir: Where what was tokenised is kept.

    Raises:
        UserError: If a number is out of range.
    """

    #: Tokens of an item at most, which the model must be able to take.
    max_length: int
    #: In place of ``batch_size``, tokens of a training batch at most, padding included, per process.
    max_tokens: int | None = None

    def __init__(
        self, tokenizer: str, batch_size: int, eval_batch_size: int, seed: int, num_workers: int, cache_dir: str
    ) -> None:
        super().__init__()
        self.tokenizer_source = tokenizer
        self.batch_size = batch_size
        self.eval_batch_size = eval_batch_size
        self.seed = seed
        self.num_workers = num_workers
        self.cache_dir = Path(cache_dir).expanduser()
        #: Items of a training pass that do not make up a batch for every process, other ones in every pass.
        self.num_left_out = 0
        for name, value in (("batch_size", batch_size), ("eval_batch_size", eval_batch_size)):
            if value < 1:
                raise UserError(f"data.{name} must be at least 1, not {value}")
        if num_workers < 0:
            raise UserError(f"data.num_workers must be at least 0, not {num_workers}")

    def take_budget(self, max_tokens: int | None) -> None:
        """Fill training batches up to so many tokens; None leaves it at what was said before.

        Raises:
            UserError: If an item may have more.
        """
        if max_tokens is None:
            return
        if max_tokens < self.max_length:
            raise UserError(
                f"data.max_tokens is {max_tokens}, which no window of {self.max_length} tokens fits into: raise it to "
                f"{self.max_length}, or lower data.max_length (of plain text data.block_length) to what fits"
            )
        self.max_tokens = max_tokens

    @property
    def parts(self) -> Mapping[str | None, TaskDataModule]:
        """The data of each task of the run by its name: itself alone and under no name, unless it holds several."""
        return {None: self}

    def take_tasks(self, tasks: Mapping[str | None, Task]) -> None:
        """Learn what is predicted, by the names of :attr:`parts`; for data that is read and cut by its task."""

    @property
    def can_predict(self) -> bool:
        """Whether there is anything for the ``predict`` command."""
        return True

    @cached_property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """The tokenizer that cuts the text."""
        return load_tokenizer(self.tokenizer_source)

    @abstractmethod
    def check(self) -> None:
        """Check the settings against the tokenizer, before any data is read.

        Raises:
            UserError: If they do not fit.
        """

    def recut_validation(self, tokenizer: PreTrainedTokenizerBase) -> DataLoader[Batch] | None:
        """Return the validation part as a tokenizer of more pieces cuts it, where that is known to differ."""
        return None

    @abstractmethod
    def summary(self) -> dict[str, Any]:
        """Return what was read, repaired, dropped and cut, in plain numbers, for the report."""

    @abstractmethod
    def identities(self, place: str = "data") -> dict[str, Identity]:
        """Return what the training data is that has been made ready, by where it stands in the configuration.

        Args:
            place: Where this data stands.
        """

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint keeps: what the training data is."""
        return {"training": self.identities()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Check that a run which goes on trains on what it has trained on; what is only scored may be anything.

        Raises:
            UserError: If the training data has changed since.
        """
        check_unchanged(state_dict["training"], self.identities())

    @abstractmethod
    def _load(self, split: str) -> None:
        """Make one part ready, tokenising it first where it is not cached."""

    @abstractmethod
    def _passes(self) -> DataLoader[Batch]:
        """Return this process's training batches, one pass an iteration; the sampler's ``set_epoch`` chooses which."""

    def train_dataloader(self) -> TrainingLoader:
        """Return the training batches, in an order that a resumed run finds again."""
        return TrainingLoader(self._passes())

    def prepare_data(self) -> None:
        """Tokenise what the running command needs, once, on one process of each node."""
        assert self.trainer is not None
        self.setup(self.trainer.state.fn.value)

    def setup(self, stage: str) -> None:
        """Open what ``stage`` needs on every process."""
        for split in _SPLITS_OF_STAGE[stage]:
            self._load(split)

    def _training_loader(self, dataset: Dataset[Batch], sampler: PassSampler) -> DataLoader[Batch]:
        """Return the training batches of a sampler, and say once what of a pass is in none of them."""
        if sampler.num_left_out and not self.num_left_out:
            rank_zero_info(
                "train: %d of %d windows are left out of every pass, others each time: too few for %d processes",
                sampler.num_left_out,
                len(dataset),  # type: ignore[arg-type]
                sampler.num_ranks,
            )
        self.num_left_out = sampler.num_left_out
        return self._loader(dataset, sampler)

    def _loader(self, dataset: Dataset[Batch], sampler: Sampler[Any]) -> DataLoader[Batch]:
        # The sampler yields whole batches, so batch_size is None: items are read from disk a batch at a time.
        return DataLoader(
            dataset,
            sampler=sampler,
            batch_size=None,
            num_workers=self.num_workers,
            persistent_workers=self.num_workers > 0,
            pin_memory=self.trainer is not None and self.trainer.strategy.root_device.type == "cuda",
            worker_init_fn=leave_signals_to_the_run,
            # Its own, since loaders draw a number whenever they start: the run's random numbers are the model's alone.
            generator=torch.Generator(),
        )

    def _rank(self) -> tuple[int, int]:
        return (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)
