"""Data of several kinds in one run: each stage reads its own, and all share one training loader."""

from __future__ import annotations

from typing import Any

from torch.utils.data import DataLoader
from transformers import PreTrainedTokenizerBase

from distill.data.base import TaskDataModule
from distill.data.identity import Identity
from distill.data.training import TrainingLoader
from distill.models.loading import EMBEDDED
from distill.types import Batch, UserError


class StagedDataModule(TaskDataModule):
    """The data of the task, and other data that single stages train on, such as plain text before questions.

    A stage with ``data: <name>`` reads that one of ``others``, all other stages the data of the task, which alone is
    evaluated. So one run goes from general distillation on text through the layers of the task to its logits. Plain
    text teaches layers alone, other data of the task's own kind, such as more questions, logits and labels too.

    Args:
        main: The data of the task.
        others: Name to data that stages may name.
        tokenizer: Folder or hub name whose tokenizer cuts everything; linked to the model, so never set by hand.
        seed: Decides the order of all training batches.
        num_workers: Processes that prepare batches of each kind of data; what these say themselves when left out.
        max_tokens: In place of ``batch_size``, tokens of a training batch of each kind of data at most, per process;
            what these say themselves when left out.

    Raises:
        UserError: If there is no other data, or an item has more than ``max_tokens``.
    """

    def __init__(
        self,
        main: TaskDataModule,
        others: dict[str, TaskDataModule],
        tokenizer: str = EMBEDDED,
        seed: int = 0,
        num_workers: int | None = None,
        max_tokens: int | None = None,
    ) -> None:
        if not others:
            raise UserError("data.others: name the data that stages read beside the task's; else give main alone")
        workers = main.num_workers if num_workers is None else num_workers
        super().__init__(tokenizer, main.batch_size, main.eval_batch_size, seed, workers, str(main.cache_dir))
        self.main = main
        self.others = others
        for part in (main, *others.values()):
            part.tokenizer_source = tokenizer
            part.seed = seed
            part.num_workers = part.num_workers if num_workers is None else num_workers
        self.max_length = max(part.max_length for part in (main, *others.values()))
        self.take_budget(max_tokens)

    def take_budget(self, max_tokens: int | None) -> None:
        """Fill the batches of every kind of data up to so many tokens."""
        super().take_budget(max_tokens)
        for part in (self.main, *self.others.values()):
            part.take_budget(max_tokens)

    def has_labels(self, name: str) -> bool:
        """Whether a stage on that data may weigh what the head answers: it is read as the task's data is."""
        return type(self.others[name]) is type(self.main)

    def check(self) -> None:
        """Check every kind of data against the tokenizer."""
        for part in (self.main, *self.others.values()):
            part.check()

    def setup(self, stage: str) -> None:
        """Open what ``stage`` needs of every kind of data."""
        for part in (self.main, *self.others.values()):
            part.trainer = self.trainer
        super().setup(stage)

    def train_dataloader(self) -> TrainingLoader:
        """Return the training batches of all kinds of data."""
        return TrainingLoader(self._passes(), {name: part._passes() for name, part in self.others.items()})

    def val_dataloader(self) -> DataLoader[Batch]:
        """Return the task's."""
        return self.main.val_dataloader()

    def test_dataloader(self) -> DataLoader[Batch]:
        """Return the task's."""
        return self.main.test_dataloader()

    def predict_dataloader(self) -> DataLoader[Batch]:
        """Return the task's."""
        return self.main.predict_dataloader()

    def recut_validation(self, tokenizer: PreTrainedTokenizerBase) -> DataLoader[Batch] | None:
        """Return the task's."""
        return self.main.recut_validation(tokenizer)

    def summary(self) -> dict[str, Any]:
        """Return the summary of the task's data, and under ``others`` those of the others."""
        return {**self.main.summary(), "others": {name: part.summary() for name, part in self.others.items()}}

    def identities(self, place: str = "data") -> dict[str, Identity]:
        """Return what the training data of the task and of the stages is."""
        found = self.main.identities(f"{place}.main")
        for name, part in self.others.items():
            found |= part.identities(f"{place}.others.{name}")
        return found

    def _passes(self) -> DataLoader[Batch]:
        return self.main._passes()

    def _load(self, split: str) -> None:
        self.main._load(split)
        if split == "train":
            for part in self.others.values():
                part._load(split)
