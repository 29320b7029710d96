"""Rewrite ``train.conll`` and ``dev.conll``: ``python -m distill.assets.ner_es``."""

from __future__ import annotations

from pathlib import Path

from distill.assets.ner_es.generate import NUM_SENTENCES, write

if __name__ == "__main__":
    for split in NUM_SENTENCES:
        write(split, Path(__file__).parent)
