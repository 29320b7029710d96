"""Lines of files and rows of hub sets, with the messages that every reader owes for them."""

from __future__ import annotations

import csv
import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import datasets
import httpx
from datasets.exceptions import DatasetsError

from distill.types import UserError

#: Everything that ``datasets`` raises for what a user can mend: no network, wrong name, configuration or split.
LOADING_ERRORS = (OSError, ValueError, RuntimeError, DatasetsError, httpx.HTTPError)


def read_lines(path: Path, may_hold_returns: bool = False) -> list[str]:
    """Return the lines of a UTF-8 file without their ends, a byte-order mark left out.

    Args:
        path: The file; its lines end in a line feed, or a carriage return and a line feed.
        may_hold_returns: Whether a carriage return elsewhere may be part of a text.

    Raises:
        UserError: If there is no such file, it cannot be read, is not UTF-8, or a carriage return stands alone.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise UserError(f"{path}: no such file: check the path") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise UserError(f"{path}: line {line}: not UTF-8: convert the file to UTF-8") from None
    lone = None if may_hold_returns else re.search(r"\r(?!\n)", text)
    if lone is not None:
        line = text.count("\n", 0, lone.start()) + 1
        raise UserError(
            f"{path}: line {line}: a carriage return (\\r) without a line feed: end the lines in \\n or \\r\\n"
        )
    # Not splitlines(): a word may hold one of the rarer characters that it splits at.
    return text.replace("\r\n", "\n").split("\n")


def json_rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the number and the object of every line of a file of JSON lines; blank lines are passed over.

    Raises:
        UserError: If a line is not a JSON object.
    """
    for number, line in enumerate(read_lines(path), start=1):
        if not line.strip():
            continue
        where = f"{path}: line {number}"
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise UserError(f"{where}: malformed JSON: {error}") from None
        if not isinstance(row, dict):
            raise UserError(f"{where}: expected a JSON object, got {shown(row)}: put one example on each line")
        yield number, row


def load_rows(name: str, config: str | None, split: str) -> datasets.Dataset:
    """Load a split of a hub data set, or of a local folder that ``datasets`` can load.

    Raises:
        UserError: If it cannot be reached or does not exist.
    """
    try:
        return datasets.load_dataset(name, name=config, split=split)
    except LOADING_ERRORS as error:
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise UserError(
            f"{hub_source(name, config, split)}: cannot be loaded, no hub reachable or no such data ({reason}): check "
            "the name, or use train_files, validation_files, test_files or predict_files"
        ) from error


def hub_source(name: str, config: str | None, split: str) -> str:
    """Return what messages call a hub data set."""
    return f"{name} {config or ''}".rstrip() + f" [{split}]"


def class_names(feature: Any) -> Sequence[str] | None:
    """Return the names behind the numbers of a column of classes, or of lists of them; None for any other column."""
    inner = getattr(feature, "feature", feature)
    return inner.names if isinstance(inner, datasets.ClassLabel) else None


def class_name(number: Any, names: Sequence[str], where: str) -> str | None:
    """Return the name behind a number; None where the class is kept secret or unknown, which is -1 or null.

    Raises:
        UserError: If there is no such class.
    """
    if number is None or number == -1:
        return None
    if not 0 <= number < len(names):
        raise UserError(f"{where}: class {number}, but the set names {len(names)} (-1 would be none): repair the set")
    return names[number]


def check_any_label(num_examples: int, num_rows: int, source: str) -> None:
    """Check that rows of a hub set were left when those without labels were dropped.

    Raises:
        UserError: If there are none.
    """
    if num_rows and not num_examples:
        raise UserError(
            f"{source}: no row has labels, all {num_rows:,} are marked as unknown (-1 or null): name a split that has"
            " them in hub_splits"
        )


def listed(files: Sequence[str | Path], suffixes: Sequence[str]) -> dict[Path, str]:
    """Return files in order, each with its name, or its path where another one is called the same.

    A folder stands for its files with one of the suffixes, in the order of their names.

    Raises:
        UserError: If there are none.
    """
    if not files:
        raise UserError("no files to read: give at least one file or folder")
    paths: list[Path] = []
    for path in map(Path, files):
        inside = sorted(file for file in path.iterdir() if file.suffix in suffixes) if path.is_dir() else [path]
        if not inside:
            raise UserError(f"{path}: the folder holds no file that ends in {', '.join(suffixes)}")
        paths += inside
    names = Counter(path.name for path in paths)
    return {path: path.name if names[path.name] == 1 else str(path) for path in paths}


def check_text(text: str, name: str, where: str) -> None:
    """Check that a text can be tokenised and stored; ``name`` is what the message calls it.

    Raises:
        UserError: If it holds half of a surrogate pair, which JSON can escape but no encoding can hold.
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        raise UserError(f"{where}: {name} holds half of a surrogate pair (\\ud800-\\udfff): correct the text") from None


def unknown_label(where: str, label: str, labels: Sequence[str]) -> UserError:
    """Return the error for a label that the task does not have."""
    known = ", ".join(labels[:12]) + (", ..." if len(labels) > 12 else "")
    return UserError(f"{where}: unknown label {label!r}; the task's labels are {known}: correct it or add it to labels")


def shown(value: object) -> str:
    """Return a short form of a value for a message."""
    text = repr(value)
    return "null" if value is None else text if len(text) <= 60 else f"{text[:57]}..."


@contextmanager
def csv_field_limit(num_characters: int) -> Iterator[None]:
    """Let fields of CSV be so long; the limit is the whole process's, so the old one comes back."""
    before = csv.field_size_limit(num_characters)
    try:
        yield
    finally:
        csv.field_size_limit(before)
