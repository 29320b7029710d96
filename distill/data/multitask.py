"""Data of several tasks in one run: every batch is of one of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch.utils.data import DataLoader

from distill.data.base import TaskDataModule
from distill.data.identity import Identity
from distill.data.mixing import MixedDataset, MixedSampler, Sampling, check_sampling
from distill.models.loading import EMBEDDED
from distill.tasks.base import Task
from distill.types import Batch, UserError


class MultiTaskDataModule(TaskDataModule):
    """The data of several tasks, each read by its own data module, in training batches of one task each.

    Which batch is of which task is a function of seed, stage and position alone. An epoch has as many batches as a pass
    over every task; ``sampling`` decides how many of them are each task's. Evaluation goes through the tasks one after
    the other, under their names.

    Args:
        tasks: Name to the data of a task, the names being those of the module's tasks.
        sampling: ``proportional`` to the tasks' batches; ``uniform``; or a temperature T, which takes sizes to the
            power 1 / T: by size at 1, ever more alike above.
        tokenizer: Folder or hub name whose tokenizer cuts everything; linked to the model, so never set by hand.
        seed: Decides the order of all training batches.
        num_workers: Processes that prepare training batches; 0 stays in the main one.
        max_tokens: In place of ``batch_size``, tokens of a training batch of each task at most, per process; what the
            tasks' data says itself when left out.

    Raises:
        UserError: If there is no task, ``sampling`` is out of range, or a window has more than ``max_tokens``.
    """

    def __init__(
        self,
        tasks: dict[str, TaskDataModule],
        sampling: Sampling = "proportional",
        tokenizer: str = EMBEDDED,
        seed: int = 0,
        num_workers: int = 0,
        max_tokens: int | None = None,
    ) -> None:
        if not tasks:
            raise UserError("data.tasks: name at least one task and its data")
        check_sampling(sampling)
        first = next(iter(tasks.values()))
        super().__init__(tokenizer, first.batch_size, first.eval_batch_size, seed, num_workers, str(first.cache_dir))
        self.tasks = tasks
        self.sampling: Sampling = sampling
        for part in tasks.values():
            part.tokenizer_source = tokenizer
            part.seed = seed
        self.max_length = max(part.max_length for part in tasks.values())
        self.take_budget(max_tokens)

    def take_budget(self, max_tokens: int | None) -> None:
        """Fill the batches of every task up to so many tokens."""
        super().take_budget(max_tokens)
        for part in self.tasks.values():
            part.take_budget(max_tokens)

    @property
    def parts(self) -> Mapping[str | None, TaskDataModule]:
        """The data of each task by its name."""
        return dict(self.tasks.items())

    def take_tasks(self, tasks: Mapping[str | None, Task]) -> None:
        """Tell each part its task.

        Raises:
            UserError: If the model has no such task, or its part holds something else.
        """
        for name, part in self.tasks.items():
            if None not in tasks and name not in tasks:
                raise UserError(f"data.tasks.{name}: model.tasks names no such task; give both the same names")
            try:
                part.take_tasks({None: tasks[name]} if name in tasks else {})
            except UserError as error:
                raise UserError(f"data.tasks.{name}: {error}") from error

    def check(self) -> None:
        """Check the data of every task against the tokenizer."""
        for name, part in self.tasks.items():
            try:
                part.check()
            except UserError as error:
                raise UserError(f"data.tasks.{name}: {error}") from error

    def setup(self, stage: str) -> None:
        """Open what ``stage`` needs of every task."""
        for part in self.tasks.values():
            part.trainer = self.trainer
        super().setup(stage)

    def val_dataloader(self) -> dict[str, DataLoader[Batch]]:
        """Return each task's."""
        return {name: part.val_dataloader() for name, part in self.tasks.items()}

    def test_dataloader(self) -> dict[str, DataLoader[Batch]]:
        """Return each task's."""
        return {name: part.test_dataloader() for name, part in self.tasks.items()}

    def predict_dataloader(self) -> dict[str, DataLoader[Batch]]:
        """Return that of each task which has something to predict."""
        return {name: part.predict_dataloader() for name, part in self.tasks.items() if part.can_predict}

    def summary(self) -> dict[str, Any]:
        """Return how tasks are sampled, and under ``tasks`` the summary of each one's data."""
        return {
            "sampling": self.sampling,
            "tasks": {name: part.summary() for name, part in self.tasks.items()},
        }

    def identities(self, place: str = "data") -> dict[str, Identity]:
        """Return what the training data of each task is."""
        found: dict[str, Identity] = {}
        for name, part in self.tasks.items():
            found |= part.identities(f"{place}.tasks.{name}")
        return found

    def _passes(self) -> DataLoader[Batch]:
        loaders = {name: part._passes() for name, part in self.tasks.items()}
        for name, loader in loaders.items():
            if not len(loader):
                raise UserError(f"data.tasks.{name}: there is not one batch to train on; give it more data")
        sampler = MixedSampler({name: loader.sampler for name, loader in loaders.items()}, self.sampling, self.seed)
        return self._loader(MixedDataset({name: loader.dataset for name, loader in loaders.items()}), sampler)

    def _load(self, split: str) -> None:
        parts = {name: part for name, part in self.tasks.items() if split != "predict" or part.can_predict}
        if not parts:
            raise UserError(
                f"predict: nothing to predict; name files with --data.tasks.{next(iter(self.tasks))}.predict_files, or "
                "those of another task"
            )
        for name, part in parts.items():
            try:
                part._load(split)
            except UserError as error:
                raise UserError(f"data.tasks.{name}: {error}") from error
