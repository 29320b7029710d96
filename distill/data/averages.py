"""What batches of a token budget hold on average, told by a sample of the windows."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial

import numpy as np
from numpy.typing import NDArray

from distill.data.sampling import TokenBudgetSampler, cut_by_tokens
from distill.data.windows import WindowDataset
from distill.types import AverageBatch, Batch

#: Windows of a sample: read in a moment, and so many that means over them are exact to one per cent.
SAMPLE_WINDOWS = 2048


def sampled_windows(lengths: NDArray[np.int64], most: int) -> NDArray[np.int64]:
    """Return windows that stand for all, (min(N, most),), longest first: evenly spaced in order of length."""
    order = np.argsort(-lengths, kind="stable")
    size = min(len(order), most)
    return order[((np.arange(size) + 0.5) * len(order) / max(1, size)).astype(np.int64)]


def average_batch(windows: WindowDataset, sampler: TokenBudgetSampler) -> AverageBatch:
    """Return what a process's batches of a pass hold on average, see :class:`~distill.types.AverageBatch`."""
    order = sampled_windows(windows.lengths, SAMPLE_WINDOWS)
    batches = cut_by_tokens(order, windows.widths, sampler.max_tokens)
    read: Callable[[], Iterable[Batch]] = partial(_read, windows, batches)
    return AverageBatch(read, sampler.mean_windows / max(1, len(order)))


def _read(windows: WindowDataset, batches: Iterable[NDArray[np.int64]]) -> Iterable[Batch]:
    return (windows[batch.tolist()] for batch in batches)
