"""Trimmed tokenizers on disk, so that a vocabulary is counted once."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from transformers import PreTrainedTokenizerBase

from distill.files import new_folder
from distill.models.loading import load_tokenizer
from distill.models.vocabulary import trim_tokenizer


def trimmed_tokenizer(
    tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], folder: Path
) -> PreTrainedTokenizerBase:
    """Return the tokenizer with the pieces of ``texts`` alone, from ``folder`` where it was made before.

    Args:
        tokenizer: The tokenizer with all its pieces.
        texts: What decides, see :func:`~distill.models.vocabulary.trim_tokenizer`.
        folder: Where trimmed tokenizers are kept, each under a hash of what it depends on.
    """
    digest = hashlib.sha256(tokenizer.backend_tokenizer.to_str().encode())
    for text in texts:
        digest.update(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest())
    target = folder / f"vocabulary-{digest.hexdigest()[:32]}"
    if not target.exists():
        try:
            with new_folder(target) as unfinished:
                trim_tokenizer(tokenizer, texts).save_pretrained(unfinished)
        except OSError:
            if not target.exists():  # else another process was faster, and its tokenizer is the same
                raise
    return load_tokenizer(str(target))
