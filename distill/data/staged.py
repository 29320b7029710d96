"""Data of several kinds in one run: each stage reads its own, and all share one training loader."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice, pairwise
from typing import Any, NamedTuple

from torch.utils.data import DataLoader, Dataset

from distill.data.base import TaskDataModule
from distill.data.mixing import first_batches
from distill.models.loading import EMBEDDED
from distill.stages import StagePlan
from distill.types import Batch, UserError


class Segment(NamedTuple):
    """The batches ``[start, end)`` of a run, counted from its beginning, that a stage reads.

    Attributes:
        part: The name of the stage's data; None is the data of the task.
        start: The first batch.
        end: The batch after the last one; None for the final stage, which nothing follows.
        offset: How many batches of the same data earlier stages read.
    """

    part: str | None
    start: int
    end: int | None
    offset: int


def segments(plan: StagePlan, batches_per_epoch: int, batches_per_step: int) -> list[Segment]:
    """Lay the stages out in batches: a pure function, so that a resumed run finds the batch it stopped at.

    Args:
        plan: The stages in optimizer steps.
        batches_per_epoch: Batches of an epoch; its last step may take fewer than the others.
        batches_per_step: Batches whose gradients make up a step.
    """
    read: dict[str | None, int] = {}
    laid_out: list[Segment] = []
    starts = first_batches(plan, batches_per_epoch, batches_per_step)
    for stage, (start, end) in zip(plan.stages.values(), pairwise(starts), strict=True):
        laid_out.append(Segment(stage.data, start, end, read.get(stage.data, 0)))
        read[stage.data] = read.get(stage.data, 0) + end - start
    return [*laid_out[:-1], laid_out[-1]._replace(end=None)]


class StagedLoader:
    """Yields the batches of every epoch, each from the data of the stage that it belongs to.

    An epoch has as many batches as the data of the task. Each kind of data goes through its own passes, one after the
    other, wherever the stages or the epochs end. Lightning keeps the position within an epoch in checkpoints.

    Args:
        main: Batches of the task.
        others: Name to batches of other data.
    """

    def __init__(self, main: DataLoader[Batch], others: Mapping[str, DataLoader[Batch]]) -> None:
        self.loaders: dict[str | None, DataLoader[Batch]] = {None: main}
        for name, loader in others.items():
            self.loaders[name] = loader
        #: Known when training starts, see :meth:`follow`.
        self.segments: list[Segment] = []
        self.epoch = 0
        self._num_batches = 0
        #: An epoch, and how many of its batches are left out because a resumed run has done them.
        self._position = (0, 0)
        self._open: dict[str | None, tuple[int, Iterator[Batch]]] = {}

    @property
    def sampler(self) -> StagedLoader:
        """Itself: Lightning tells the epoch to what it finds here."""
        return self

    @property
    def dataset(self) -> Dataset[Batch]:
        """The task's data set, of whose items a teacher's logits may be stored."""
        return self.loaders[None].dataset

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch that is yielded next."""
        self.epoch = epoch

    def follow(self, plan: StagePlan, batches_per_step: int) -> None:
        """Learn the stages, before the first batch is asked for."""
        self.segments = segments(plan, len(self), batches_per_step)

    def __len__(self) -> int:
        return len(self.loaders[None])

    def __iter__(self) -> Iterator[Batch]:
        epoch, num_done = self._position
        self._num_batches = num_done if epoch == self.epoch else 0
        while self._num_batches < len(self):
            batch_index = self.epoch * len(self) + self._num_batches
            segment = next(s for s in self.segments if s.end is None or batch_index < s.end)
            self._num_batches += 1
            yield self._next(segment.part, segment.offset + batch_index - segment.start)

    def state_dict(self) -> dict[str, int]:
        """Return the epoch, and how many of its batches were handed out."""
        return {"epoch": self.epoch, "num_batches": self._num_batches}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Begin that epoch behind so many batches."""
        self._position = state["epoch"], state["num_batches"]

    def _next(self, part: str | None, index: int) -> Batch:
        """Return the batch of a kind of data that is ``index`` behind its first one, over all its passes."""
        position, batches = self._open.get(part, (-1, iter(())))
        if position != index:
            batches = self._batches(part, index)
        self._open[part] = (index + 1, batches)
        return next(batches)

    def _batches(self, part: str | None, index: int) -> Iterator[Batch]:
        loader = self.loaders[part]
        num_passes, num_done = divmod(index, len(loader))
        while True:
            loader.sampler.set_epoch(num_passes)  # type: ignore[attr-defined]
            yield from islice(loader, num_done, None)
            num_passes, num_done = num_passes + 1, 0


class StagedDataModule(TaskDataModule):
    """The data of the task, and other data that single stages train on, such as plain text before questions.

    A stage with ``data: <name>`` reads that one of ``others``, all other stages the data of the task, which alone is
    evaluated. So one run goes from general distillation on text through the layers of the task to its logits.

    Args:
        main: The data of the task.
        others: Name to data that stages may name.
        tokenizer: Folder or hub name whose tokenizer cuts everything; linked to the model, so never set by hand.
        seed: Decides the order of all training batches.

    Raises:
        UserError: If there is no other data.
    """

    def __init__(
        self, main: TaskDataModule, others: dict[str, TaskDataModule], tokenizer: str = EMBEDDED, seed: int = 0
    ) -> None:
        if not others:
            raise UserError("data.others: name the data that stages read beside the task's; else give main alone")
        super().__init__(tokenizer, main.batch_size, main.eval_batch_size, seed, main.num_workers, str(main.cache_dir))
        self.main = main
        self.others = others
        for part in (main, *others.values()):
            part.tokenizer_source = tokenizer
            part.seed = seed
        self.max_length = max(part.max_length for part in (main, *others.values()))

    def check(self) -> None:
        """Check every kind of data against the tokenizer."""
        for part in (self.main, *self.others.values()):
            part.check()

    def setup(self, stage: str) -> None:
        """Open what ``stage`` needs of every kind of data."""
        for part in (self.main, *self.others.values()):
            part.trainer = self.trainer
        super().setup(stage)

    def train_dataloader(self) -> StagedLoader:
        """Return the training batches of all kinds of data."""
        return StagedLoader(
            self.main.train_dataloader(), {name: part.train_dataloader() for name, part in self.others.items()}
        )

    def val_dataloader(self) -> DataLoader[Batch]:
        """Return the task's."""
        return self.main.val_dataloader()

    def test_dataloader(self) -> DataLoader[Batch]:
        """Return the task's."""
        return self.main.test_dataloader()

    def predict_dataloader(self) -> DataLoader[Batch]:
        """Return the task's."""
        return self.main.predict_dataloader()

    def summary(self) -> dict[str, Any]:
        """Return the summary of the task's data, and under ``others`` those of the others."""
        return {**self.main.summary(), "others": {name: part.summary() for name, part in self.others.items()}}

    def _load(self, split: str) -> None:
        self.main._load(split)
        if split == "train":
            for part in self.others.values():
                part._load(split)
