"""Rewrite ``train.json`` and ``dev.json``: ``python -m distill.assets.qa_es``."""

from __future__ import annotations

from pathlib import Path

from distill.assets.qa_es.generate import NUM_PARAGRAPHS, write

if __name__ == "__main__":
    for split in NUM_PARAGRAPHS:
        write(split, Path(__file__).parent)
