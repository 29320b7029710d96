"""Exact duplicates, remembered in eight bytes a document."""

from __future__ import annotations

import hashlib
import unicodedata

import numpy as np
from numpy.typing import NDArray

#: Keys kept in a set before they are merged into the sorted array.
_MERGE_AT = 1 << 16


def document_key(text: str) -> int:
    """Return 64 bits of a hash of a document that ignores case, width and white space.

    Two of n different documents share one with probability n² / 2⁶⁵: 3 in a million for ten million documents.
    """
    normalised = " ".join(unicodedata.normalize("NFKC", text).casefold().split())
    return int.from_bytes(hashlib.blake2b(normalised.encode(), digest_size=8).digest(), "little")


class SeenKeys:
    """A set of 64-bit keys that takes 8 bytes each, and as much again for a moment while it grows."""

    def __init__(self) -> None:
        self._sorted: NDArray[np.uint64] = np.zeros(0, np.uint64)
        self._recent: set[int] = set()

    def __len__(self) -> int:
        return len(self._sorted) + len(self._recent)

    def add(self, key: int) -> bool:
        """Add a key; return whether it is new."""
        if key in self._recent or self._is_sorted_in(key):
            return False
        self._recent.add(key)
        if len(self._recent) >= _MERGE_AT:
            recent = np.sort(np.fromiter(self._recent, np.uint64, len(self._recent)))
            self._sorted = np.insert(self._sorted, np.searchsorted(self._sorted, recent), recent)
            self._recent.clear()
        return True

    def _is_sorted_in(self, key: int) -> bool:
        index = int(np.searchsorted(self._sorted, np.uint64(key)))
        return index < len(self._sorted) and int(self._sorted[index]) == key
