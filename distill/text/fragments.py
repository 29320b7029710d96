"""Pieces that hold parts of characters, as small byte-level vocabularies have: what they are together."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

#: Runs whose characters are remembered; a language has few that are not letters.
_NUM_REMEMBERED = 1 << 14


class Judged(NamedTuple):
    """What the pieces of a run are.

    Attributes:
        stands_alone: Whether all characters that a piece is a part of are neither letters nor digits.
        goes_on: Whether a piece begins within a character that such a piece before it began.
    """

    stands_alone: tuple[bool, ...]
    goes_on: tuple[bool, ...]


@lru_cache(maxsize=_NUM_REMEMBERED)
def judge(run: tuple[bytes, ...]) -> Judged:
    """Say what pieces are that stand side by side and are no whole characters by themselves.

    A part of a character whose rest is missing, as where a block was cut, is taken for a letter.

    Example:
        >>> judge((" —".encode()[:3], "—".encode()[2:]))  # a space and a dash, in two pieces
        Judged(stands_alone=(True, True), goes_on=(False, True))
    """
    is_of_a_word: list[bool] = []
    is_begun: list[bool] = []
    # A byte that is part of no character becomes half of a surrogate pair, which is one.
    for character in b"".join(run).decode(errors="surrogateescape"):
        is_broken = "\udc80" <= character <= "\udcff"
        num_bytes = 1 if is_broken else len(character.encode())
        is_of_a_word += [is_broken or character.isalnum()] * num_bytes
        is_begun += [False] + [True] * (num_bytes - 1)
    ends = np.cumsum([len(piece) for piece in run]).tolist()
    starts = [0, *ends[:-1]]
    alone = tuple(not any(is_of_a_word[start:end]) for start, end in zip(starts, ends, strict=True))
    return Judged(alone, tuple(is_begun[start] and one for start, one in zip(starts, alone, strict=True)))


def judge_all(
    ids: NDArray[np.int64], fragments: dict[int, bytes], is_fragment: NDArray[np.bool_]
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return of the pieces of blocks which stand alone and which go on with a character, each (B, S).

    Pieces of whole characters are neither here.

    Args:
        ids: (B, S) token ids.
        fragments: Id of each piece that is no whole characters to its bytes.
        is_fragment: (V,) whether a piece is one of them.
    """
    stands_alone, goes_on = np.zeros(ids.shape, bool), np.zeros(ids.shape, bool)
    if not fragments:
        return stands_alone, goes_on
    edges = np.diff(is_fragment[ids].astype(np.int8), axis=1, prepend=0, append=0)
    for (row, start), (_, end) in zip(np.argwhere(edges == 1), np.argwhere(edges == -1), strict=True):
        judged = judge(tuple(fragments[piece] for piece in ids[row, start:end].tolist()))
        stands_alone[row, start:end], goes_on[row, start:end] = judged
    return stands_alone, goes_on
