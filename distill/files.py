"""Files and folders that are written whole or not at all."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` as indented UTF-8 JSON under a temporary name, then rename it, so that no half file is seen.

    Raises:
        ValueError: If ``value`` holds NaN or infinity, which JSON has no word for.
        TypeError: If ``value`` holds something else that JSON cannot hold.
    """
    write_text(path, json.dumps(value, ensure_ascii=False, indent=2, allow_nan=False) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text under a temporary name in the same folder, then rename it; the folder is made when missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)


@contextmanager
def new_folder(target: Path, replace: bool = False) -> Iterator[Path]:
    """Yield an empty folder beside ``target`` that takes its place when the block ends well, and is removed otherwise.

    Args:
        target: Where the folder belongs.
        replace: Whether an older folder there gives way; until then it stays as it is.

    Raises:
        OSError: When the block ends, if ``target`` exists by then, is not an empty folder, and is not to be replaced.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}."))
    try:
        yield partial
        # Temporary folders, and the files that some libraries write, are closed to everybody else.
        partial.chmod(0o755)
        for path in partial.rglob("*"):
            path.chmod(0o755 if path.is_dir() else 0o644)
        if replace and target.exists():
            older = partial.with_name(f"{partial.name}.older")
            target.replace(older)
            partial.replace(target)
            shutil.rmtree(older)
        else:
            partial.replace(target)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
