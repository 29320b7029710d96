"""Masking whole words for masked-language models."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from distill.text.fragments import judge_all
from distill.text.vocabulary import PieceTable
from distill.types import UserError

#: Label of a token that is not to be predicted.
IGNORED = -100

# Independent draws for one position: whether its word is chosen, what becomes of it, which piece replaces it.
_CHOICE, _TREATMENT, _REPLACEMENT = range(3)
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True)
class WholeWordMasking:
    """Hides whole words, as BERT's whole-word masking does.

    Every word is chosen with ``probability``, so that this share of the tokens is to be predicted on average, and at
    least one word of every block that has any. Of the chosen tokens ``mask_share`` become the mask token,
    ``random_share`` a random ordinary piece, and the rest stay as they are (Devlin et al. 2019, section 3.1).

    A word is a piece that begins one and those behind it that do not; punctuation, and what follows it, are words of
    their own, as is what a block begins with; so is a mark that is cut into several pieces. Special tokens and padding
    are never chosen.

    Args:
        probability: Share of words to predict, above 0.
        mask_share: Share of chosen tokens that become the mask token.
        random_share: Share of chosen tokens that become a random piece.

    Raises:
        UserError: If a share is out of range.
    """

    probability: float = 0.15
    mask_share: float = 0.8
    random_share: float = 0.1

    def __post_init__(self) -> None:
        if not 0 < self.probability <= 1:
            raise UserError(f"data.masking.probability must be above 0 and at most 1, not {self.probability}")
        if min(self.mask_share, self.random_share) < 0 or self.mask_share + self.random_share > 1 + 1e-9:
            raise UserError(
                f"data.masking: mask_share {self.mask_share} and random_share {self.random_share} must be shares "
                "of a whole"
            )

    def __call__(
        self, ids: NDArray[np.int64], block_ids: NDArray[np.int64], pieces: PieceTable, seed: int, epoch: int
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Mask a batch; what happens to a block depends on ``seed``, ``epoch`` and its id alone.

        Args:
            ids: (B, S) token ids, padded with a special token.
            block_ids: (B,) identifiers of the blocks.
            pieces: What to know about the vocabulary.
            seed: Together with ``epoch`` decides what is masked, on every process and in every batch alike.
            epoch: The epoch, counted from 0; other words are masked in each.

        Returns:
            Masked ids, (B, S), and labels, (B, S): the original id where it is to be predicted, else ``IGNORED``.
        """
        keys = _block_keys(np.asarray(block_ids, np.uint64), seed, epoch)
        maskable = ~pieces.is_special[ids]
        word_start = _word_starts(ids, maskable, pieces)
        draw = np.where(maskable, _uniform(keys, word_start, _CHOICE), np.inf)
        chosen = maskable & ((draw < self.probability) | (draw == draw.min(axis=1, keepdims=True)))

        rows, columns = np.nonzero(chosen)
        treatment = _uniform(keys[rows], columns, _TREATMENT)
        pick = (_uniform(keys[rows], columns, _REPLACEMENT) * len(pieces.ordinary_ids)).astype(np.int64)
        original = ids[rows, columns]
        replaced = np.where(treatment < self.mask_share + self.random_share, pieces.ordinary_ids[pick], original)
        masked, labels = ids.copy(), np.full_like(ids, IGNORED)
        masked[rows, columns] = np.where(treatment < self.mask_share, pieces.mask_id, replaced)
        labels[rows, columns] = original
        return masked, labels


def _word_starts(ids: NDArray[np.int64], maskable: NDArray[np.bool_], pieces: PieceTable) -> NDArray[np.int64]:
    """Return, (B, S), the position at which the word of each token begins."""
    marks_in_parts, goes_on = judge_all(ids, pieces.fragments, pieces.is_fragment)
    stands_alone = pieces.stands_alone[ids] | marks_in_parts
    begins = pieces.begins_word[ids] | stands_alone
    begins[:, 1:] |= stands_alone[:, :-1] | ~maskable[:, :-1]
    begins &= ~goes_on
    begins[:, 0] = True
    positions = np.where(begins, np.arange(ids.shape[1]), 0)
    return np.maximum.accumulate(positions, axis=1)


def _block_keys(block_ids: NDArray[np.uint64], seed: int, epoch: int) -> NDArray[np.uint64]:
    key = np.zeros(1, np.uint64)
    for number in (seed, epoch):
        key = _mix(key + np.array([number]).astype(np.uint64) + _GOLDEN)
    return _mix(key + block_ids * _GOLDEN + _GOLDEN)


def _uniform(keys: NDArray[np.uint64], positions: NDArray[np.int64], draw: int) -> NDArray[np.float64]:
    """Return a number in [0, 1) for each position, a function of the key of its row, the position and the draw."""
    counter = np.asarray(positions, np.uint64) * np.uint64(3) + np.uint64(draw + 1)
    keys = keys.reshape(keys.shape + (1,) * (counter.ndim - keys.ndim))
    return (_mix(keys + counter * _GOLDEN) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def _mix(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Scramble 64-bit numbers: the finaliser of SplitMix64 (Steele et al. 2014), as good as random on a counter."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))
