"""A part of an evaluation set, for a first impression before a long run."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from distill.data.sampling import EvaluationSampler, evaluation_batches
from distill.types import Batch


class ExampleSample(Dataset[Batch]):
    """Some examples of an evaluation set, with all of their windows under the ids that these have there.

    Args:
        dataset: The set. Where it has ``examples``, its ``example_indices`` tell which one a window is of; else every
            item is an example of its own.
        num_examples: How many to draw; all, where there are fewer.
        seed: Decides which.
    """

    def __init__(self, dataset: Any, num_examples: int, seed: int = 0) -> None:
        self._dataset = dataset
        num_items = len(dataset)
        owners = np.asarray(getattr(dataset, "example_indices", np.arange(num_items)))
        whole = getattr(dataset, "examples", range(num_items))
        chosen = np.sort(np.random.default_rng(seed).permutation(len(whole))[:num_examples])
        self.examples = [whole[index] for index in chosen]
        self.window_ids = np.flatnonzero(np.isin(owners, chosen))
        self.lengths = np.asarray(getattr(dataset, "lengths", np.ones(num_items, np.int64)))[self.window_ids]

    def __len__(self) -> int:
        return len(self.window_ids)

    def __getitem__(self, places: list[int]) -> Batch:
        return self._dataset[self.window_ids[places].tolist()]


def sample_loader(
    dataset: Any, num_examples: int, batch_size: int, rank: int = 0, num_ranks: int = 1
) -> DataLoader[Batch]:
    """Return one process's share of a sample of an evaluation set, in batches of windows of similar length.

    The random state of the run is left alone.
    """
    sample = ExampleSample(dataset, num_examples)
    batches = evaluation_batches(sample.lengths, batch_size, rank, num_ranks)
    return DataLoader(sample, sampler=EvaluationSampler(batches), batch_size=None, generator=torch.Generator())
