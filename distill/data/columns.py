"""Rows of tables on disk, read where they lie: no column is copied, and only those that are asked for are looked at."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray


class Column:
    """A column of numbers, or of lists of numbers, in the chunks in which it lies in memory or on disk."""

    def __init__(self, column: pa.ChunkedArray) -> None:
        self._is_list = pa.types.is_list(column.type) or pa.types.is_large_list(column.type)
        chunks = [chunk for chunk in column.chunks if len(chunk)]
        #: For each chunk where its rows begin and end, with lists alone, and the values of all of them.
        self._offsets = [chunk.offsets.to_numpy() for chunk in chunks] if self._is_list else []
        values = [chunk.values if self._is_list else chunk for chunk in chunks]
        self._values = [chunk.to_numpy(zero_copy_only=False) for chunk in values]
        self._starts = np.cumsum([0, *map(len, chunks)])

    @property
    def lengths(self) -> NDArray[np.int64]:
        """How long each list is."""
        return np.concatenate([np.diff(offsets) for offsets in self._offsets] or [np.zeros(0)]).astype(np.int64)

    def take(self, indices: NDArray[np.int64]) -> list[NDArray[Any]] | NDArray[Any]:
        """Return some rows: a list of arrays, views of the column, or one array of numbers."""
        chunks = np.searchsorted(self._starts, indices, side="right") - 1
        places = list(zip(chunks.tolist(), (indices - self._starts[chunks]).tolist(), strict=True))
        if not self._is_list:
            return np.asarray([self._values[chunk][row] for chunk, row in places])
        return [self._values[chunk][self._offsets[chunk][row] : self._offsets[chunk][row + 1]] for chunk, row in places]


class Columns:
    """The columns of a table, opened when they are asked for; travels to workers as the table does.

    Args:
        table: Numbers and lists of numbers.
    """

    def __init__(self, table: Any) -> None:
        self._table = table

    @cached_property
    def _open(self) -> dict[str, Column]:
        return {}

    def __getitem__(self, name: str) -> Column:
        if name not in self._open:
            self._open[name] = Column(self._table.data.column(name))
        return self._open[name]

    def __getstate__(self) -> dict[str, Any]:
        return {"_table": self._table}

    def rows(self, indices: Sequence[int]) -> Rows:
        """Return some rows."""
        return Rows(self, self._table.column_names, np.asarray(indices, dtype=np.int64))


class Rows(Mapping[str, Any]):
    """Some rows by column, each column read once, when it is asked for."""

    def __init__(self, columns: Columns, names: Sequence[str], indices: NDArray[np.int64]) -> None:
        self._columns, self._names, self._indices = columns, names, indices
        self._read: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._names:
            raise KeyError(name)
        if name not in self._read:
            self._read[name] = self._columns[name].take(self._indices)
        return self._read[name]

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)
