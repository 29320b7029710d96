"""Logits on disk: one file that holds the head's scores of every real token, or every window, of a training set.

The file is an ordinary ``.npy`` array (N, ...) of N rows, window after window in the order of their ids, followed by
32 bytes: the SHA-256 of the key and of everything before. A file that was cut, damaged or renamed is noticed.
"""

from __future__ import annotations

import fcntl
import hashlib
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from numpy.lib import format as npy
from numpy.typing import NDArray
from torch import Tensor

_DIGEST_SIZE = hashlib.sha256().digest_size

#: The name of a store's file, given its key.
STORE_NAME = "logits-{}.npy"

#: A temporary file that is younger may not be marked as in use yet.
_YOUNG_SECONDS = 60.0


class DamagedStoreError(Exception):
    """A stored file is not what its key says; the message says how."""


class CannotStoreError(Exception):
    """Logits cannot be stored; the message says why."""


def row_offsets(sizes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return where the rows of each of M windows start, and where the last one's end: (M + 1,)."""
    return np.concatenate(([0], np.cumsum(sizes, dtype=np.int64)))


class LogitStore:
    """The stored logits of a training set, read by window id; the file is mapped, not loaded.

    Args:
        path: The file.
        key: What the logits depend on, as hashed into the file.
        sizes: Rows of each window, (M,): its tokens, or one where the head scores windows as a whole.

    Raises:
        FileNotFoundError: If there is no such file.
        DamagedStoreError: If its content is not what was written under this key and for these windows.
    """

    def __init__(self, path: Path, key: str, sizes: NDArray[np.int64]) -> None:
        self.path = path
        self._offsets = row_offsets(sizes)
        if path.stat().st_size <= _DIGEST_SIZE:
            raise DamagedStoreError("it was cut short")
        content = np.memmap(path, np.uint8, mode="r")
        if _digest(key, content[:-_DIGEST_SIZE]) != content[-_DIGEST_SIZE:].tobytes():
            raise DamagedStoreError("its checksum is wrong")
        self._rows: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
        if len(self._rows) != self._offsets[-1]:
            raise DamagedStoreError(f"it holds {len(self._rows)} rows, not {self._offsets[-1]}")

    def rows(self, window_ids: Sequence[int]) -> Tensor:
        """Return the logits of the windows one after the other, (T, ...), in the stored dtype."""
        return torch.from_numpy(
            np.concatenate([self._rows[self._offsets[i] : self._offsets[i + 1]] for i in window_ids])
        )


class LogitWriter:
    """An unfinished store under a temporary name, which several processes may fill at once, each with its own windows.

    Args:
        path: The temporary file; made by :func:`create_store`.
        sizes: Rows of each window, (M,).
    """

    def __init__(self, path: Path, sizes: NDArray[np.int64]) -> None:
        self._offsets = row_offsets(sizes)
        with path.open("rb") as file:
            self._row_shape, self._dtype = _read_header(file)
            self._start = file.tell()
        # Written by seeking and not through a map, where a full disk would kill the process instead of raising.
        self._file = path.open("r+b")

    def write(self, window_ids: Sequence[int], rows: Tensor) -> None:
        """Write the logits (T, ...) of windows, which follow one another.

        Raises:
            CannotStoreError: If a logit is not finite, or too large for the stored dtype.
        """
        values = rows.float().cpu().numpy()
        with np.errstate(over="ignore"):
            stored = values.astype(self._dtype)
        if not np.isfinite(stored).all():
            raise CannotStoreError(
                f"its logits reach {np.abs(values).max():g}, too much for {self._dtype}; set dtype: float32"
                if np.isfinite(values).all()
                else "some of its logits are not finite"
            )
        row_size = int(np.prod(self._row_shape)) * self._dtype.itemsize
        done = 0
        for window_id in window_ids:
            start, end = self._offsets[window_id], self._offsets[window_id + 1]
            self._file.seek(self._start + int(start) * row_size)
            self._file.write(stored[done : done + int(end - start)].tobytes())
            done += int(end - start)

    def close(self) -> None:
        """Hand everything written to the operating system."""
        self._file.close()


def create_store(path: Path, num_rows: int, row_shape: tuple[int, ...], dtype: str) -> IO[bytes]:
    """Make an unfinished store of ``num_rows`` rows for writers to fill.

    Returns the open file, which marks it as in use until it is closed, see :func:`remove_abandoned`.

    Args:
        path: A temporary name; its folder is made when missing.
        num_rows: Rows of all windows.
        row_shape: Shape of one row of logits.
        dtype: ``float16`` or ``float32``.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    little_endian = np.dtype(dtype).newbyteorder("<")
    header = {"descr": little_endian.str, "fortran_order": False, "shape": (num_rows, *row_shape)}
    file = path.open("wb")
    try:
        with suppress(OSError):  # a file system without locks
            # Of the open file and not of the process, which other writers of it would give up when they close theirs.
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        npy.write_array_header_1_0(file, header)
        file.truncate(file.tell() + num_rows * int(np.prod(row_shape)) * little_endian.itemsize)
        file.flush()
    except BaseException:
        file.close()
        raise
    return file


def remove_abandoned(folder: Path) -> list[Path]:
    """Remove the unfinished stores in a folder that no process fills any more, since it was killed; return them."""
    removed = []
    for path in folder.glob(f".{STORE_NAME.format('*')}.*.partial"):
        with suppress(OSError), path.open("rb") as file:
            if time.time() - path.stat().st_mtime > _YOUNG_SECONDS:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                path.unlink()
                removed.append(path)
    return removed


def seal_store(path: Path, key: str, target: Path) -> None:
    """Append the checksum to a filled store and move it to its place, over an older one."""
    with path.open("ab") as file:
        file.write(_digest(key, np.memmap(path, np.uint8, mode="r")))
    path.replace(target)


def _digest(key: str, content: NDArray[np.uint8]) -> bytes:
    digest = hashlib.sha256(key.encode())
    digest.update(content.data)
    return digest.digest()


def _read_header(file: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[Any]]:
    npy.read_magic(file)
    shape, _, dtype = npy.read_array_header_1_0(file)
    return shape[1:], dtype
