"""Which batch of a run is of which task, as pure functions of sizes, seed and stages, and the sampler around them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, islice, pairwise
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Dataset, Sampler

from distill.stages import StagePlan
from distill.types import Batch, UserError

#: How often each task comes: by its size, all alike, or by its size to the power 1 / T.
Sampling = Literal["proportional", "uniform"] | float


def first_batches(plan: StagePlan, batches_per_epoch: int, batches_per_step: int) -> list[int]:
    """Return the first batch of every stage, counted from the beginning of the run, and the one behind the last.

    Args:
        plan: The stages in optimizer steps.
        batches_per_epoch: Batches of an epoch; its last step may take fewer than the others.
        batches_per_step: Batches whose gradients make up a step.
    """

    def first_batch(step: int) -> int:
        epoch, rest = divmod(step, plan.steps_per_epoch)
        return epoch * batches_per_epoch + min(rest * batches_per_step, batches_per_epoch)

    return [first_batch(step) for step in accumulate(plan.lengths, initial=0)]


def check_sampling(sampling: Sampling) -> None:
    """Check how tasks are to be sampled.

    Raises:
        UserError: If it is no known word and no temperature above 0.
    """
    if sampling in ("proportional", "uniform"):
        return
    if isinstance(sampling, str) or not 0 < sampling < math.inf:
        raise UserError(f"data.sampling must be proportional, uniform or a temperature above 0, not {sampling}")


def task_quotas(sizes: Sequence[int], sampling: Sampling) -> list[int]:
    """Return how many batches of a round are of each task; a round has as many as all tasks' passes together.

    The share of a task with n batches a pass is ``n^(1/T) / sum_k n_k^(1/T)``: by size at T = 1 (``proportional``),
    ever more alike above, all alike without end (``uniform``). Shares are rounded by the largest remainder, and every
    task has at least one batch.

    Example:
        >>> [task_quotas([90, 10], sampling) for sampling in ("proportional", 2.0, "uniform")]
        [[90, 10], [75, 25], [50, 50]]
    """
    exponent = float(sampling == "proportional") if isinstance(sampling, str) else 1 / sampling
    # Powers above 1 may overflow; sizes relative to the largest one have the same shares and do not.
    weights = (np.asarray(sizes, dtype=np.float64) / (max(sizes) if exponent > 1 else 1)) ** exponent
    exact = sum(sizes) * weights / weights.sum()
    quotas = np.floor(exact).astype(np.int64)
    missing = sum(sizes) - int(quotas.sum())
    quotas[np.argsort(quotas - exact, kind="stable")[:missing]] += 1
    while (empty := np.flatnonzero(quotas == 0)).size:
        quotas[empty[0]] += 1
        quotas[quotas.argmax()] -= 1
    return quotas.tolist()


def task_order(quotas: Sequence[int], seed: int, stage: int, number: int) -> NDArray[np.int64]:
    """Return the task of every batch of a round, by position in ``quotas``, shuffled.

    Args:
        quotas: Batches of each task.
        seed: Together with ``stage`` and ``number`` decides the order, on every process alike.
        stage: The stage, counted from 0.
        number: The round within it, counted from 0.
    """
    tasks = np.repeat(np.arange(len(quotas)), quotas)
    return np.random.default_rng([seed, stage, number]).permutation(tasks)


class Place(NamedTuple):
    """A batch of a task, so many behind its first one, over all of its passes."""

    task: str
    number: int


@dataclass(frozen=True)
class Mixture:
    """The batches of a stage: rounds of its tasks, one after the other, from the stage's first batch on.

    Attributes:
        quotas: Name of each task to its batches in a round.
        stage: The stage, counted from 0.
        start: The stage's first batch, counted from the beginning of the run.
        done: How many batches of each task earlier stages read.
        seed: Decides the order.
    """

    quotas: Mapping[str, int]
    stage: int
    start: int
    done: Mapping[str, int]
    seed: int

    def tasks_of(self, number: int) -> list[str]:
        """Return the task of every batch of a round."""
        names = list(self.quotas)
        return [names[i] for i in task_order(list(self.quotas.values()), self.seed, self.stage, number)]

    def places(self, first: int) -> Iterator[Place]:
        """Yield the stage's batches without end, from the ``first`` batch of the run on."""
        number, skipped = divmod(first - self.start, sum(self.quotas.values()))
        counts = {name: self.done.get(name, 0) + number * quota for name, quota in self.quotas.items()}
        while True:
            for position, name in enumerate(self.tasks_of(number)):
                if position >= skipped:
                    yield Place(name, counts[name])
                counts[name] += 1
            number, skipped = number + 1, 0

    def counts(self, num_batches: int) -> dict[str, int]:
        """Return how many of the stage's first ``num_batches`` are of each task."""
        num_rounds, rest = divmod(num_batches, sum(self.quotas.values()))
        begun = self.tasks_of(num_rounds)[:rest]
        return {name: num_rounds * quota + begun.count(name) for name, quota in self.quotas.items()}


def mixtures(
    plan: StagePlan, sizes: Mapping[str, int], sampling: Sampling, seed: int, batches_per_step: int
) -> list[Mixture]:
    """Lay the stages out in batches of tasks: a pure function, so that a resumed run finds the batch it stopped at.

    Args:
        plan: The stages in optimizer steps; one that names no tasks has all of them.
        sizes: Batches of a pass of each task.
        sampling: How often each task comes.
        seed: Decides the order.
        batches_per_step: Batches whose gradients make up a step.
    """
    laid_out = []
    done: dict[str, int] = dict.fromkeys(sizes, 0)
    starts = first_batches(plan, sum(sizes.values()), batches_per_step)
    for index, (stage, (start, end)) in enumerate(zip(plan.stages.values(), pairwise(starts), strict=True)):
        names = [name for name in sizes if stage.tasks is None or name in stage.tasks]
        quotas = dict(zip(names, task_quotas([sizes[name] for name in names], sampling), strict=True))
        mixture = Mixture(quotas, index, start, dict(done), seed)
        laid_out.append(mixture)
        for name, count in mixture.counts(end - start).items():
            done[name] += count
    return laid_out


class TaskItem(NamedTuple):
    """A task, and what its sampler says of a batch: which windows it is made of."""

    task: str
    item: Any


class MixedSampler(Sampler[TaskItem]):
    """Yields the batches of an epoch, each of one task, the same tasks on every process at the same time.

    An epoch has as many batches as all tasks' passes together. Each task goes through its own passes, one after the
    other, wherever epochs, rounds and stages end.

    Args:
        samplers: Name of each task to the sampler of its passes, which has ``set_epoch`` and a length.
        sampling: How often each task comes.
        seed: Decides the order.
    """

    def __init__(self, samplers: Mapping[str, Any], sampling: Sampling, seed: int) -> None:
        self.samplers = dict(samplers)
        self.sampling: Sampling = sampling
        self.seed = seed
        self.epoch = 0
        self.start = 0
        quotas = task_quotas(list(self.sizes.values()), sampling)
        #: One for each stage; a single one of all tasks until the stages are known.
        self.mixtures = [Mixture(dict(zip(self.sizes, quotas, strict=True)), 0, 0, {}, seed)]
        self._passes: dict[str, tuple[int, list[Any]]] = {}
        self._lengths: list[int] = []

    @property
    def sizes(self) -> dict[str, int]:
        """Batches of a pass of each task."""
        return {name: len(sampler) for name, sampler in self.samplers.items()}

    def set_epoch(self, epoch: int, start: int = 0) -> None:
        """Choose the epoch that is yielded next, and its first batch."""
        self.epoch, self.start = epoch, start

    def follow(self, plan: StagePlan, batches_per_step: int) -> None:
        """Learn the stages, before the first batch is asked for."""
        self.mixtures = mixtures(plan, self.sizes, self.sampling, self.seed, batches_per_step)
        self._lengths = [b - a for a, b in pairwise(first_batches(plan, len(self), batches_per_step))]

    def batches_of(self, tasks: Sequence[str] | None) -> int:
        """Return the batches of a pass over some of the tasks, over all of them for None."""
        return sum(size for name, size in self.sizes.items() if tasks is None or name in tasks)

    def num_batches(self, stage: int, task: str) -> int:
        """Return how many batches of a task a stage of the run reads."""
        return self.mixtures[stage].counts(self._lengths[stage]).get(task, 0)

    def __len__(self) -> int:
        return sum(self.sizes.values())

    def __iter__(self) -> Iterator[TaskItem]:
        first = self.epoch * len(self)
        for place in self._places(first + self.start, first + len(self)):
            yield TaskItem(place.task, self._item(place))

    def _places(self, first: int, end: int) -> Iterator[Place]:
        """Yield the batches ``[first, end)`` of the run."""
        ends: list[float] = [*(mixture.start for mixture in self.mixtures[1:]), math.inf]
        for mixture, stage_end in zip(self.mixtures, ends, strict=True):
            start, stop = max(first, mixture.start), min(end, stage_end)
            if start < stop:
                yield from islice(mixture.places(start), int(stop) - start)

    def _item(self, place: Place) -> Any:
        """Return what a task's sampler says of a batch; a pass is laid out once and kept while it lasts."""
        sampler = self.samplers[place.task]
        number, position = divmod(place.number, len(sampler))
        if self._passes.get(place.task, (-1, []))[0] != number:
            sampler.set_epoch(number)
            self._passes[place.task] = number, list(sampler)
        return self._passes[place.task][1][position]


class MixedDataset(Dataset[Batch]):
    """The data sets of several tasks; indexing by a :class:`TaskItem` gives a batch that knows its task.

    Args:
        parts: Name of each task to its data set.
    """

    def __init__(self, parts: Mapping[str, Any]) -> None:
        self.parts = dict(parts)

    def __len__(self) -> int:
        return sum(len(part) for part in self.parts.values())

    def __getitem__(self, item: TaskItem) -> Batch:
        batch: Batch = self.parts[item.task][item.item]
        batch.task = item.task
        return batch
