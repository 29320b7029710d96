"""Rewrite ``train.tsv`` and ``dev.tsv``: ``python -m distill.assets.pairs_es``."""

from __future__ import annotations

from pathlib import Path

from distill.assets.pairs_es.generate import NUM_PAIRS, write

if __name__ == "__main__":
    for split in NUM_PAIRS:
        write(split, Path(__file__).parent)
