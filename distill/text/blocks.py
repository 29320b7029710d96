"""Blocks of tokens on disk: written as a stream, read through the page cache."""

from __future__ import annotations

import json
from array import array
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distill.text.packing import BlockPacker
from distill.text.report import TextReport
from distill.text.sources import TextSource
from distill.types import UserError

TRAIN, VALIDATION = PARTS = ("train", "validation")

#: What says how the other files of the folder are to be read; written last.
MANIFEST = "manifest.json"

#: Documents of a large part that are compared with another part's at a time.
_KEYS_AT_ONCE = 1 << 22


class BlockWriter:
    """Writes the blocks of one part as they come; 8 bytes a block and a document stay in memory.

    Args:
        folder: Where the files go.
        part: ``train`` or ``validation``.
        dtype: Of the ids.
        packer: What makes blocks of documents.
    """

    def __init__(self, folder: Path, part: str, dtype: np.dtype[Any], packer: BlockPacker) -> None:
        self._starts_file, self._keys_file = folder / f"{part}.starts.npy", folder / f"{part}.keys.npy"
        self._file = (folder / f"{part}.tokens").open("wb")
        self._dtype, self._packer = dtype, packer
        self._starts = array("q", [0])
        self._keys = array("Q")

    def add(self, document: NDArray[np.int64], key: int) -> None:
        """Add the ids of a document, and what tells it from others."""
        self._keys.append(key)
        self._write(self._packer.add(document))

    def finish(self) -> dict[str, int]:
        """Write what is left; return how many documents, blocks and tokens the part has."""
        self._write(self._packer.finish())
        self._file.close()
        np.save(self._starts_file, np.frombuffer(self._starts, dtype=np.int64))
        np.save(self._keys_file, np.array(self._keys, dtype=np.uint64))
        return {"documents": len(self._keys), "blocks": len(self._starts) - 1, "tokens": self._starts[-1]}

    def _write(self, blocks: Iterator[NDArray[np.int64]]) -> None:
        for block in blocks:
            self._file.write(block.astype(self._dtype).tobytes())
            self._starts.append(self._starts[-1] + len(block))

    def __enter__(self) -> BlockWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()


class TokenBlocks:
    """The blocks of one part of a cache; N blocks of at most S tokens.

    Args:
        folder: What :func:`cached_blocks` returned.
        part: ``train`` or ``validation``.

    Raises:
        UserError: If the cache was damaged since it was written.
    """

    def __init__(self, folder: Path, part: str) -> None:
        self.folder, self.part = folder, part
        self.manifest = _read_manifest(folder)
        sizes = self.manifest["parts"][part]
        starts_file, tokens_file = folder / f"{part}.starts.npy", folder / f"{part}.tokens"
        try:
            starts = np.load(starts_file, allow_pickle=False)
        except (OSError, ValueError) as error:
            raise _damaged(folder, f"{starts_file.name}: {error}") from None
        num_bytes = tokens_file.stat().st_size if tokens_file.exists() else 0
        dtype = np.dtype(self.manifest["dtype"])
        if len(starts) != sizes["blocks"] + 1 or starts[-1] != sizes["tokens"]:
            raise _damaged(folder, f"{starts_file.name} does not hold {sizes['blocks']:,} blocks")
        if num_bytes != sizes["tokens"] * dtype.itemsize:
            raise _damaged(folder, f"{tokens_file.name} has {num_bytes:,} bytes")
        self._starts: NDArray[np.int64] = starts
        # An empty file cannot be mapped.
        self._tokens = np.memmap(tokens_file, dtype, mode="r") if num_bytes else np.zeros(0, dtype)

    def __reduce__(self) -> tuple[Any, ...]:
        """Send other processes the name of the files, not their contents."""
        return TokenBlocks, (self.folder, self.part)

    def __len__(self) -> int:
        return len(self._starts) - 1

    @property
    def lengths(self) -> NDArray[np.int64]:
        """(N,) tokens of each block."""
        return np.diff(self._starts)

    def lengths_of(self, block_ids: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return (B,) tokens of some blocks."""
        return self._starts[block_ids + 1] - self._starts[block_ids]

    @property
    def report(self) -> TextReport:
        """What was read, repaired and dropped when the cache was written."""
        return TextReport.from_dict(self.manifest["report"])

    def report_of(self, source: TextSource) -> TextReport:
        """Return the report with the names that the files of a source of the same contents have now."""
        names = dict(zip(self.manifest["files"], map(str, source.files), strict=False))
        return replace(self.report.renamed(names), passed_over=[str(file) for file in source.passed_over])

    def counts(self) -> dict[str, int]:
        """Return how many documents, blocks and tokens the part has; special tokens are tokens."""
        return dict(self.manifest["parts"][self.part])

    def num_shared(self, others: TokenBlocks) -> int:
        """Return how many of these documents are among ``others`` too, but for case, width and white space.

        Raises:
            UserError: If a cache was damaged since it was written.
        """
        mine, theirs = self._keys(), others._keys()
        is_shared = np.zeros(len(mine), bool)
        for start in range(0, len(theirs), _KEYS_AT_ONCE):
            is_shared |= np.isin(mine, theirs[start : start + _KEYS_AT_ONCE])
        return int(is_shared.sum())

    def _keys(self) -> NDArray[np.uint64]:
        file = self.folder / f"{self.part}.keys.npy"
        try:
            keys: NDArray[np.uint64] = np.load(file, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError) as error:
            raise _damaged(self.folder, f"{file.name}: {error}") from None
        return keys

    def read(self, block_ids: NDArray[np.int64], width: int, pad_id: int) -> NDArray[np.int64]:
        """Return blocks as (B, ``width``), padded on the right with ``pad_id``."""
        starts, ends = self._starts[block_ids, None], self._starts[block_ids + 1, None]
        positions = starts + np.arange(width)
        ids = self._tokens[np.minimum(positions, ends - 1)].astype(np.int64)
        return np.where(positions < ends, ids, pad_id)


def _read_manifest(folder: Path) -> dict[str, Any]:
    try:
        manifest: dict[str, Any] = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        return manifest
    except (OSError, ValueError) as error:
        raise _damaged(folder, f"{MANIFEST}: {error}") from None


def _damaged(folder: Path, what: str) -> UserError:
    return UserError(f"{folder}: the token cache is damaged ({what}): delete the folder, and it is made again")
