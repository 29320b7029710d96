"""Reports as files: in the run's folder, written whole or not at all."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import lightning as L


def run_folder(trainer: L.Trainer) -> Path | None:
    """Return the folder of the run, where its files go; nothing in a ``fast_dev_run``, which leaves no trace.

    Must be called on every process.
    """
    if trainer.fast_dev_run:
        return None
    return Path(trainer.log_dir or trainer.default_root_dir)


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
