"""Files and folders that are written whole or not at all."""

from __future__ import annotations

import errno
import fcntl
import glob
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO, Any

#: What ``tempfile`` ends the name of a temporary folder in.
_RANDOM_NAME = "?" * 8

#: A temporary folder that is younger may not be marked as in use yet.
_YOUNG_SECONDS = 60.0

#: One path, or a list of them; a single one needs no brackets on the command line.
Paths = list[str] | str


def listed_paths(paths: Paths | None) -> list[str]:
    """Return paths as a list; no path is an empty one.

    Example:
        >>> listed_paths("train.json"), listed_paths(["a.json", "b.json"]), listed_paths(None)
        (['train.json'], ['a.json', 'b.json'], [])
    """
    return [paths] if isinstance(paths, str) else list(paths or ())


def first_in_both(files: Iterable[Path], others: Iterable[Path]) -> Path | None:
    """Return the first of ``files`` that is one of ``others``, also under another name or behind a link."""
    theirs = {(found.st_dev, found.st_ino) for found in map(Path.stat, others)}
    return next((file for file in files if ((found := file.stat()).st_dev, found.st_ino) in theirs), None)


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` as indented UTF-8 JSON under a temporary name, then rename it, so that no half file is seen.

    Raises:
        ValueError: If ``value`` holds NaN or infinity, which JSON has no word for.
        TypeError: If ``value`` holds something else that JSON cannot hold.
    """
    write_text(path, json.dumps(value, ensure_ascii=False, indent=2, allow_nan=False) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text whole or not at all, see :func:`new_file`; the folder is made when missing."""
    with new_file(path) as file:
        file.write(text.encode())


@contextmanager
def new_file(target: Path) -> Iterator[IO[bytes]]:
    """Yield a file beside ``target`` that takes its place when the block ends well; otherwise nothing of it remains.

    At every moment ``target`` is the old file or the new one, each whole, also where the power fails.

    Raises:
        OSError: If it cannot be written, such as on a full disk.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.partial")
    try:
        with partial.open("wb") as file:
            yield file
            sync_file(file)
        partial.replace(target)
    except BaseException as error:
        with suppress(OSError):
            partial.unlink()
        _name_full_disk(error, target)
        raise
    _sync_folder(target.parent)


def sync_file(file: IO[bytes]) -> None:
    """Have what was written to an open file on the disk."""
    file.flush()
    os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    """Have the rename itself on the disk, where the system can."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextmanager
def new_folder(target: Path, replace: bool = False) -> Iterator[Path]:
    """Yield an empty folder beside ``target`` that takes its place when the block ends well, and is removed otherwise.

    What processes that were killed meanwhile have left is removed by the next one that makes the same folder.

    Args:
        target: Where the folder belongs.
        replace: Whether an older folder there gives way; until then it stays as it is.

    Raises:
        OSError: When the block ends, if ``target`` exists by then, is not an empty folder, and is not to be replaced.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    _remove_abandoned(target)
    partial = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}."))
    with ExitStack() as held:
        with suppress(OSError):  # a file system without locks
            held.enter_context(_locked(partial))
        try:
            yield partial
            # Temporary folders, and the files that some libraries write, are closed to everybody else.
            partial.chmod(0o755)
            for path in partial.rglob("*"):
                path.chmod(0o755 if path.is_dir() else 0o644)
            _take_place(partial, target, replace)
        except BaseException as error:
            shutil.rmtree(partial, ignore_errors=True)
            _name_full_disk(error, target)
            raise


def _take_place(partial: Path, target: Path, replace: bool) -> None:
    if not (replace and target.exists()):
        partial.replace(target)
        return
    older = partial.with_name(f"{partial.name}.older")
    try:
        target.replace(older)
        partial.replace(target)
    except BaseException:
        if not target.exists():
            older.replace(target)
        raise
    shutil.rmtree(older)


def _name_full_disk(error: BaseException, target: Path) -> None:
    """Say of an error what could not be written: a full disk is met in open files, where the system names none."""
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT) and error.filename is None:
        error.filename = str(target)


def _remove_abandoned(target: Path) -> None:
    """Remove the unfinished folders of a target that no process fills any more."""
    for folder in target.parent.glob(f".{glob.escape(target.name)}.{_RANDOM_NAME}"):
        with suppress(OSError), _locked(folder):
            if time.time() - max(path.stat().st_mtime for path in (folder, *folder.iterdir())) > _YOUNG_SECONDS:
                shutil.rmtree(folder)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold a folder's lock, which marks it as in use.

    Raises:
        OSError: If another process holds it, or the file system has no locks.
    """
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)
