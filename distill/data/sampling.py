"""Which windows make up which batch, as pure functions of lengths, seed and epoch, and the samplers around them."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Sampler

from distill.types import UserError

#: Batches whose windows are sorted by length together: enough to save padding, few enough to keep batches random.
POOL_BATCHES = 50


def training_batches(
    lengths: NDArray[np.int64], batch_size: int, seed: int, epoch: int, pool_batches: int = POOL_BATCHES
) -> list[NDArray[np.int64]]:
    """Cut one epoch into batches of windows of similar length.

    Windows are shuffled, sorted by length within pools of ``pool_batches`` batches, cut into batches, and the batches
    shuffled. Every window is in exactly one batch; their number, ``ceil(N / batch_size)``, is the same every epoch.

    Args:
        lengths: Tokens of each of the N windows.
        batch_size: Windows in a batch; the last one may be smaller.
        seed: Together with ``epoch`` decides the order, on every process alike.
        epoch: The epoch, counted from 0.
        pool_batches: Batches in a pool; with 1 they are drawn regardless of length.
    """
    generator = np.random.default_rng([seed, epoch])
    order = generator.permutation(len(lengths))
    pool = pool_batches * batch_size
    batches: list[NDArray[np.int64]] = []
    for start in range(0, len(order), pool):
        window_ids = order[start : start + pool]
        window_ids = window_ids[np.argsort(lengths[window_ids], kind="stable")]
        batches += [window_ids[i : i + batch_size] for i in range(0, len(window_ids), batch_size)]
    return [batches[i] for i in generator.permutation(len(batches))]


def cut_by_tokens(
    order: NDArray[np.int64], lengths: NDArray[np.int64], max_tokens: int, num_ranks: int = 1
) -> list[NDArray[np.int64]]:
    """Cut windows, longest first, into batches of at most ``max_tokens`` tokens for each process, padding included.

    A window that is longer than ``max_tokens`` counts as just as long.

    Args:
        order: The windows, (N,), no window longer than the one before it.
        lengths: Padded tokens of every window.
        max_tokens: The budget of a process.
        num_ranks: Processes that share each batch out in turn.
    """
    batches = []
    while len(order):
        size = num_ranks * max(1, max_tokens // int(lengths[order[0]]))
        batches.append(order[:size])
        order = order[size:]
    return batches


def budget_batches(
    widths: NDArray[np.int64], max_tokens: int, seed: int, epoch: int, num_ranks: int = 1
) -> list[NDArray[np.int64]]:
    """Cut one epoch into batches of many short windows or few long ones.

    Windows are shuffled among those that are padded to the same width, cut from the widest to the narrowest by
    :func:`cut_by_tokens`, and the batches shuffled. Every window is in exactly one batch. How many batches there are,
    and how many windows they hold, follows from the widths alone and is the same every epoch.

    Args:
        widths: Tokens that each of the N windows is padded to in a batch of its like.
        max_tokens: Tokens of a process's part of a batch at most, padding included.
        seed: Together with ``epoch`` decides the order, on every process alike.
        epoch: The epoch, counted from 0.
        num_ranks: Processes that share each batch out in turn.
    """
    generator = np.random.default_rng([seed, epoch])
    order = generator.permutation(len(widths))
    order = order[np.argsort(-widths[order], kind="stable")]
    batches = cut_by_tokens(order, widths, max_tokens, num_ranks)
    return [batches[i] for i in generator.permutation(len(batches))]


def evaluation_batches(
    lengths: NDArray[np.int64], batch_size: int, rank: int = 0, num_ranks: int = 1
) -> list[NDArray[np.int64]]:
    """Cut an evaluation set into batches, longest first (memory trouble shows at once); return one process's share.

    The batches are the same however many processes share them out, so every window is padded, computed and rounded
    alike and scores are equal to the last bit; no window is repeated to even the processes out. Only a set that does
    not fill a batch for each of them is cut finer.

    Raises:
        UserError: If there are fewer windows than processes.
    """
    if len(lengths) < num_ranks:
        raise UserError(f"{len(lengths)} windows cannot be shared out to {num_ranks} processes; start fewer of them")
    order = np.argsort(-lengths, kind="stable")
    batch_size = min(batch_size, max(1, len(lengths) // num_ranks))
    return [order[i : i + batch_size] for i in range(0, len(order), batch_size)][rank::num_ranks]


class PassSampler(Sampler[list[int]], ABC):
    """Yields each process's part of every batch of a pass over the training windows; :meth:`set_epoch` chooses which.

    A batch is shared out in turn, so every process sees equally many batches. A batch of fewer windows than processes,
    which only the last one cut can be, is left out, since some process would have none of it. In batches of equally
    many windows these are others in every pass; in batches by tokens they are among the shortest.

    Args:
        seed: Decides the order.
        rank: This process.
        num_ranks: How many processes there are.
    """

    #: Windows of a pass that no process sees.
    num_left_out: int

    def __init__(self, seed: int, rank: int, num_ranks: int) -> None:
        self.seed = seed
        self.rank = rank
        self.num_ranks = num_ranks
        self.epoch = 0
        self._start = 0

    def set_epoch(self, epoch: int, start: int = 0) -> None:
        """Choose the epoch whose order is yielded next, and its first batch."""
        self.epoch, self._start = epoch, start

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def _batches(self) -> list[NDArray[np.int64]]:
        """Return the batches of all processes of the chosen epoch."""

    def __iter__(self) -> Iterator[list[int]]:
        shared = [batch for batch in self._batches() if len(batch) >= self.num_ranks]
        for batch in shared[self._start :]:
            yield batch[self.rank :: self.num_ranks].tolist()


class TrainingSampler(PassSampler):
    """Passes in batches of ``batch_size`` windows for each process, see :func:`training_batches`."""

    def __init__(
        self,
        lengths: Sequence[int] | NDArray[np.int64],
        batch_size: int,
        seed: int,
        rank: int = 0,
        num_ranks: int = 1,
        pool_batches: int = POOL_BATCHES,
    ) -> None:
        super().__init__(seed, rank, num_ranks)
        self.lengths = np.asarray(lengths, dtype=np.int64)
        self.batch_size = batch_size
        self.pool_batches = pool_batches
        rest = len(self.lengths) % (batch_size * num_ranks)
        self.num_left_out = rest if rest < num_ranks else 0

    def __len__(self) -> int:
        num_seen = len(self.lengths) - self.num_left_out
        return math.ceil(num_seen / (self.batch_size * self.num_ranks))

    def _batches(self) -> list[NDArray[np.int64]]:
        size = self.batch_size * self.num_ranks
        return training_batches(self.lengths, size, self.seed, self.epoch, self.pool_batches)


class TokenBudgetSampler(PassSampler):
    """Passes in batches of at most ``max_tokens`` padded tokens for each process, see :func:`budget_batches`."""

    def __init__(
        self, widths: NDArray[np.int64], max_tokens: int, seed: int, rank: int = 0, num_ranks: int = 1
    ) -> None:
        super().__init__(seed, rank, num_ranks)
        self.widths = widths
        self.max_tokens = max_tokens
        sizes = [size for batch in self._batches() if (size := len(batch)) >= num_ranks]
        self.num_left_out = len(widths) - sum(sizes)
        self._num_batches = len(sizes)
        #: Windows of a process's part of a batch on average.
        self.mean_windows = sum(sizes) / max(1, len(sizes)) / num_ranks

    def __len__(self) -> int:
        return self._num_batches

    def _batches(self) -> list[NDArray[np.int64]]:
        return budget_batches(self.widths, self.max_tokens, self.seed, self.epoch, self.num_ranks)


class EvaluationSampler(Sampler[list[int]]):
    """Yields the batches of one process's share of an evaluation set."""

    def __init__(self, batches: list[NDArray[np.int64]]) -> None:
        self.batches = batches

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[list[int]]:
        for batch in self.batches:
            yield batch.tolist()
