"""The embedded questions in three parts: to train on, to choose by, to report on."""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path
from typing import NamedTuple

from distill.files import write_json


class Parts(NamedTuple):
    """A file of each part."""

    train: Path
    validation: Path
    test: Path


def embedded_parts(folder: Path, held_out: int = 8) -> Parts:
    """Write the parts under a folder; the last ``held_out`` paragraphs of each train article are to choose by."""
    source = resources.files("distill.assets") / "qa_es"
    documents = {name: json.loads((source / f"{name}.json").read_text(encoding="utf-8")) for name in ("train", "dev")}
    articles = documents["train"]["data"]
    cut = {"train": slice(None, -held_out), "validation": slice(-held_out, None)}
    parts = {
        name: {
            "version": "v2.0",
            "data": [{**article, "paragraphs": article["paragraphs"][part]} for article in articles],
        }
        for name, part in cut.items()
    }
    files = Parts(*(folder / f"{name}.json" for name in Parts._fields))
    for file, document in zip(files, (parts["train"], parts["validation"], documents["dev"]), strict=True):
        if not file.is_file():
            write_json(file, document)
    return files
