"""The training batches of a run: which comes when, and where a resumed run goes on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import pairwise
from typing import Any, NamedTuple

from lightning.pytorch.utilities import rank_zero_warn
from torch.utils.data import DataLoader, Dataset

from distill.data.mixing import MixedDataset, first_batches
from distill.stages import StagePlan
from distill.types import AverageBatch, Batch


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


class TrainingLoader:
    """Yields the batches of every epoch, each from the data of the stage that it belongs to.

    An epoch has as many batches as the data of the task. Each kind of data goes through its own passes, one after the
    other, wherever the stages or the epochs end. Which batch comes when is a function of the epoch and of the place
    within it alone; these two are what a checkpoint keeps, and a resumed run loads no batch that it has done.

    Args:
        main: Batches of the task. Its sampler's ``set_epoch(epoch, start)`` chooses a pass and its first batch.
        others: Name to batches of other data, alike.
    """

    def __init__(self, main: DataLoader[Batch], others: Mapping[str, DataLoader[Batch]] | None = None) -> None:
        self.loaders: dict[str | None, DataLoader[Batch]] = {None: main}
        for name, loader in (others or {}).items():
            self.loaders[name] = loader
        #: Set by the StageSchedule when training starts, before the first batch is asked for.
        self.segments = [Segment(None, 0, None, 0)]
        #: Batches of an epoch that are trained on, and batches of a step; set alike.
        self.num_batches: int | None = None
        self.batches_per_step = 1
        self.epoch = 0
        self._num_batches = 0
        #: An epoch, and how many of its batches are left out because a resumed run has done them.
        self._position = (0, 0)
        self._open: dict[str | None, tuple[int, Iterator[Batch]]] = {}

    @property
    def sampler(self) -> TrainingLoader:
        """Itself: Lightning tells the epoch to what it finds here."""
        return self

    @property
    def dataset(self) -> Dataset[Batch]:
        """The task's data set, of whose items a teacher's logits may be stored."""
        return self.loaders[None].dataset

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch that is yielded next."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.loaders[None])

    def __iter__(self) -> Iterator[Batch]:
        # Nothing is done, nor do workers start, before the first batch is asked for: Lightning makes the iterator of a
        # resumed run's first epoch before it tells which epoch that is.
        epoch, num_done = self._position
        self._num_batches = num_done if epoch == self.epoch else 0
        while self._num_batches < len(self):
            for batch in self._step():
                self._num_batches += 1
                yield batch

    def state_dict(self) -> dict[str, int]:
        """Return the epoch, how many of its batches were handed out, and how many it has."""
        return {"epoch": self.epoch, "num_batches": self._num_batches, "length": len(self)}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Begin that epoch behind so many batches.

        With other batch sizes or another number of processes, which configurations and launchers choose, the place is
        the same and the batches are others: that is said and allowed.
        """
        self._position = state["epoch"], state["num_batches"]
        if (length := state.get("length", len(self))) != len(self):
            rank_zero_warn(
                f"an epoch had {length} batches when the checkpoint was written and has {len(self)} now (other batch "
                "sizes, or another number of processes): the run goes on behind as many batches, but with others"
            )

    def _step(self) -> list[Batch]:
        """Return the batches from the present one to the end of its step, each beside the others of its task."""
        first, limit = self._num_batches, len(self) if self.num_batches is None else self.num_batches
        step = first - first % self.batches_per_step
        # A step ends with the epoch, wherever that was cut short; behind it nothing belongs together.
        end = min(step + self.batches_per_step, limit if first < limit else first + 1, len(self))
        start = self.epoch * len(self)
        batches = [self._at(start + index) for index in range(first, end)]
        if self.batches_per_step == 1:
            return batches
        weight = self.batches_per_step / (end - step)
        # Batches that count by what an average one holds need no others.
        others = [[] if one.average else [o for o in batches if o is not one and o.task == one.task] for one in batches]
        return [replace(one, others=own, weight=weight) for one, own in zip(batches, others, strict=True)]

    def _at(self, batch_index: int) -> Batch:
        """Return a batch of the run, counted from its beginning."""
        segment = next(s for s in self.segments if s.end is None or batch_index < s.end)
        return self._next(segment.part, segment.offset + batch_index - segment.start)

    def _next(self, part: str | None, index: int) -> Batch:
        """Return the batch of a kind of data that is ``index`` behind its first one, over all its passes."""
        position, batches = self._open.get(part, (-1, iter(())))
        if position != index:
            batches = self._batches(part, index)
        self._open[part] = (index + 1, batches)
        batch = next(batches)
        average = _average_of(self.loaders[part].dataset, batch)
        return batch if average is None else replace(batch, average=average)

    def _batches(self, part: str | None, index: int) -> Iterator[Batch]:
        loader = self.loaders[part]
        num_passes, num_done = divmod(index, len(loader))
        while True:
            loader.sampler.set_epoch(num_passes, num_done)  # type: ignore[attr-defined]
            yield from loader
            num_passes, num_done = num_passes + 1, 0


def _average_of(dataset: Any, batch: Batch) -> AverageBatch | None:
    """Return what batches like this one of a data set hold on average, where it says."""
    own = dataset.parts[str(batch.task)] if isinstance(dataset, MixedDataset) else dataset
    average: AverageBatch | None = getattr(own, "average", None)
    return average
