"""From documents to blocks on disk, made once and kept under a fingerprint of everything they depend on."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from transformers import PreTrainedTokenizerBase

from distill.files import new_folder, write_json
from distill.text import reading
from distill.text.blocks import MANIFEST, PARTS, TRAIN, VALIDATION, BlockWriter
from distill.text.duplicates import document_key
from distill.text.language import LanguageCheck
from distill.text.packing import BlockFrame, BlockPacker, backend_state, tokenize
from distill.text.report import TextReport
from distill.text.selection import DocumentFilter
from distill.text.sources import TextSource

#: Raised whenever the files of the cache or what stands in them changes, so that older caches are not read.
CACHE_VERSION = 2


@dataclass(frozen=True)
class Preparation:
    """Everything that decides how documents become blocks, but the tokenizer.

    Attributes:
        block_length: Tokens of a block, special tokens included.
        cross_documents: Whether a block may hold several documents, with a separator between them.
        deduplicate: Whether documents that came before are dropped.
        language: What decides whether a document is in the language; nothing is asked when None.
        validation_every: One document in this many, chosen by its hash, is held out for validation; 0 holds out none.
    """

    block_length: int
    cross_documents: bool = True
    deduplicate: bool = True
    language: LanguageCheck | None = None
    validation_every: int = 0


def cached_blocks(
    source: TextSource, tokenizer: PreTrainedTokenizerBase, preparation: Preparation, cache_dir: Path
) -> Path:
    """Return the folder of a source's blocks, building it under ``cache_dir`` first if it is absent.

    The folder is written beside its place and renamed, so that a killed run or a second run at the same time leaves
    either no cache or a whole one.

    Raises:
        UserError: If the source cannot be read, or the tokenizer has no separator.
    """
    folder = cache_dir / f"text-{fingerprint(source, tokenizer, preparation)}"
    if not folder.exists():
        try:
            with new_folder(folder) as unfinished:
                _build(source, tokenizer, preparation, unfinished)
        except OSError:
            if not folder.exists():  # else another process was faster, and its blocks are the same
                raise
    return folder


def fingerprint(source: TextSource, tokenizer: PreTrainedTokenizerBase, preparation: Preparation) -> str:
    """Return a hash of everything that blocks depend on: the texts, the tokenizer, the settings and the constants."""
    frame = BlockFrame.of(tokenizer)
    language = preparation.language.fingerprint() if preparation.language is not None else None
    settings = [asdict(preparation), reading.MAX_DOCUMENT_CHARS, language]
    parts = [CACHE_VERSION, source.fingerprint(), settings, asdict(frame), backend_state(tokenizer)]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:32]


def _build(source: TextSource, tokenizer: PreTrainedTokenizerBase, preparation: Preparation, folder: Path) -> None:
    report = TextReport()
    keep = DocumentFilter(report, preparation.deduplicate, preparation.language)
    frame = BlockFrame.of(tokenizer)
    dtype = np.dtype(np.uint16 if len(tokenizer) <= 1 << 16 else np.uint32)
    length, crossing = preparation.block_length, preparation.cross_documents
    packers = [BlockPacker(length, frame, crossing) for _ in PARTS]
    with (
        BlockWriter(folder, TRAIN, dtype, packers[0]) as train,
        BlockWriter(folder, VALIDATION, dtype, packers[1]) as validation,
    ):
        every = preparation.validation_every
        for text, ids in tokenize(keep(source.documents(report)), tokenizer):
            key = document_key(text)
            (validation if every and key % every == 0 else train).add(ids, key)
        parts = {TRAIN: train.finish(), VALIDATION: validation.finish()}
    files = [str(file) for file in source.files]
    write_json(folder / MANIFEST, {"dtype": dtype.name, "parts": parts, "files": files, "report": report.as_dict()})
