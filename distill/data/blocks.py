"""Blocks of text in a batch: which ones, and what is masked in them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch.utils.data import Dataset

from distill.data.sampling import TrainingSampler
from distill.text.blocks import TokenBlocks
from distill.text.masking import WholeWordMasking
from distill.text.vocabulary import PieceTable
from distill.types import Batch


class EpochBatch(NamedTuple):
    """Which blocks make up a batch, and the epoch, which decides what is masked in them."""

    epoch: int
    block_ids: list[int]


class EpochSampler(TrainingSampler):
    """Says with every batch of a training epoch which epoch it is: workers learn of it in no other way."""

    def __iter__(self) -> Iterator[EpochBatch]:  # type: ignore[override]
        for block_ids in super().__iter__():
            yield EpochBatch(self.epoch, block_ids)


class MaskedBlockDataset(Dataset[Batch]):
    """Blocks of tokens; indexing by an :class:`EpochBatch`, or a list of blocks in epoch 0, gives a masked batch."""

    def __init__(
        self,
        blocks: TokenBlocks,
        masking: WholeWordMasking,
        pieces: PieceTable,
        block_length: int,
        seed: int,
    ) -> None:
        self.blocks = blocks
        self._masking, self._pieces = masking, pieces
        self._block_length, self._seed = block_length, seed

    def __len__(self) -> int:
        return len(self.blocks)

    def __getitem__(self, batch: EpochBatch | list[int]) -> Batch:
        epoch, members = batch if isinstance(batch, EpochBatch) else (0, batch)
        block_ids = np.asarray(members, dtype=np.int64)
        ids = self.blocks.read(block_ids, self._block_length, self._pieces.pad_id)
        attention_mask = np.arange(self._block_length) < self.blocks.lengths_of(block_ids)[:, None]
        masked, labels = self._masking(ids, block_ids, self._pieces, self._seed, epoch)
        inputs = {
            "input_ids": torch.from_numpy(masked),
            "attention_mask": torch.from_numpy(attention_mask.astype(np.int64)),
        }
        return Batch(inputs, {"token_ids": torch.from_numpy(labels)}, torch.from_numpy(block_ids))
