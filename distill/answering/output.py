"""Answers as JSON lines: written one by one, continued where they were broken off, renamed when they are whole."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from distill.files import write_json
from distill.types import UserError


class AnswerFile:
    """A file of JSON lines in the making.

    Lines go to ``<path>.partial``; ``<path>.partial.json`` beside it says what they were made with, so that a file is
    only ever continued with the same. When the block of the ``with`` statement ends well the lines take the name
    ``path``; when it does not, they stay for the next attempt.

    Args:
        path: The file to be.
        overwrite: Whether an older file, whole or half, gives way.

    Raises:
        UserError: If ``path`` exists and is not to be replaced.
    """

    def __init__(self, path: Path, overwrite: bool = False) -> None:
        self.path = path
        self.partial = path.with_name(f"{path.name}.partial")
        self._note = path.with_name(f"{path.name}.partial.json")
        self._overwrite = overwrite
        if path.exists() and not overwrite:
            raise UserError(f"{path} exists already; name another file or add --overwrite true")

    def begin(self, made_with: Mapping[str, Any]) -> Iterator[str]:
        """Begin, or go on after the last complete line of an earlier attempt.

        Args:
            made_with: Everything that the answers depend on, as JSON knows it.

        Returns:
            The identifiers of the questions that are answered already, in order, read as they are needed.

        Raises:
            UserError: If the earlier attempt was made with something else, and is not to be replaced; as they are read,
                if one of its lines is damaged.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if self._overwrite:
            self.partial.unlink(missing_ok=True)
        if self.partial.exists():
            self._check_same(made_with)
            self._cut_to_whole_lines()
        write_json(self._note, dict(made_with))
        return self._done()

    def write(self, record: Mapping[str, Any]) -> None:
        """Add a line, at once."""
        self._file.write(json.dumps(record, ensure_ascii=False, allow_nan=False).encode() + b"\n")

    def __enter__(self) -> Self:
        self._file = self.partial.open("ab", buffering=0)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with self._file:
            os.fsync(self._file.fileno())
        if error is None:
            self.partial.replace(self.path)
            self._note.unlink()

    def _done(self) -> Iterator[str]:
        if self.partial.exists():
            with self.partial.open("rb") as file:
                for number, line in enumerate(file, 1):
                    try:
                        yield json.loads(line)["id"]
                    except (ValueError, TypeError, KeyError):
                        raise UserError(
                            f"{self.partial}: line {number:,} is damaged: begin again with --overwrite true"
                        ) from None

    def _check_same(self, made_with: Mapping[str, Any]) -> None:
        try:
            before = json.loads(self._note.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            before = {}
        # As JSON holds it, in which tuples are lists.
        now = json.loads(json.dumps(dict(made_with)))
        for name in now:
            if before.get(name) != now[name]:
                raise UserError(
                    f"{self.partial} was begun with another {name}: go on with it, or begin again with --overwrite true"
                )

    def _cut_to_whole_lines(self) -> None:
        """Cut off a line that was being written when the earlier attempt ended."""
        with self.partial.open("r+b") as file:
            file.truncate(sum(len(line) for line in file if line.endswith(b"\n")))
