"""Blocks of tokens on disk: written once as a stream, then read through the page cache."""

from __future__ import annotations

import hashlib
import json
from array import array
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerBase

from distill.files import new_folder, write_json
from distill.text.duplicates import SeenKeys, document_key
from distill.text.language import LanguageCheck
from distill.text.packing import BlockFrame, BlockPacker, tokenize
from distill.text.report import TextReport
from distill.text.sources import TextSource
from distill.types import UserError

#: Raised whenever the files of the cache or what stands in them changes, so that older caches are not read.
CACHE_VERSION = 1

TRAIN, VALIDATION = PARTS = ("train", "validation")
_MANIFEST = "manifest.json"


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
    """Return a hash of everything that blocks depend on: the texts, the tokenizer and the settings."""
    # Truncation and padding are settings of the latest call, not of the tokenizer.
    backend = {**json.loads(tokenizer.backend_tokenizer.to_str()), "truncation": None, "padding": None}
    parts = [CACHE_VERSION, source.fingerprint(), asdict(preparation), asdict(BlockFrame.of(tokenizer)), backend]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:32]


class TokenBlocks:
    """The blocks of one part of a cache; N blocks of at most S tokens.

    Args:
        folder: What :func:`cached_blocks` returned.
        part: ``train`` or ``validation``.

    Raises:
        UserError: If the cache was damaged since it was written.
    """

    def __init__(self, folder: Path, part: str) -> None:
        self.folder, self.part = folder, part
        self.manifest = _read_manifest(folder)
        sizes = self.manifest["parts"][part]
        starts_file, tokens_file = folder / f"{part}.starts.npy", folder / f"{part}.tokens"
        try:
            starts = np.load(starts_file, allow_pickle=False)
        except (OSError, ValueError) as error:
            raise _damaged(folder, f"{starts_file.name}: {error}") from None
        num_bytes = tokens_file.stat().st_size if tokens_file.exists() else 0
        dtype = np.dtype(self.manifest["dtype"])
        if len(starts) != sizes["blocks"] + 1 or starts[-1] != sizes["tokens"]:
            raise _damaged(folder, f"{starts_file.name} does not hold {sizes['blocks']:,} blocks")
        if num_bytes != sizes["tokens"] * dtype.itemsize:
            raise _damaged(folder, f"{tokens_file.name} has {num_bytes:,} bytes")
        self._starts: NDArray[np.int64] = starts
        # An empty file cannot be mapped.
        self._tokens = np.memmap(tokens_file, dtype, mode="r") if num_bytes else np.zeros(0, dtype)

    def __reduce__(self) -> tuple[Any, ...]:
        """Send other processes the name of the files, not their contents."""
        return TokenBlocks, (self.folder, self.part)

    def __len__(self) -> int:
        return len(self._starts) - 1

    @property
    def lengths(self) -> NDArray[np.int64]:
        """(N,) tokens of each block."""
        return np.diff(self._starts)

    def lengths_of(self, block_ids: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return (B,) tokens of some blocks."""
        return self._starts[block_ids + 1] - self._starts[block_ids]

    @property
    def report(self) -> TextReport:
        """What was read, repaired and dropped when the cache was written."""
        return TextReport.from_dict(self.manifest["report"])

    def counts(self) -> dict[str, int]:
        """Return how many documents, blocks and tokens the part has; special tokens are tokens."""
        return dict(self.manifest["parts"][self.part])

    def read(self, block_ids: NDArray[np.int64], width: int, pad_id: int) -> NDArray[np.int64]:
        """Return blocks as (B, ``width``), padded on the right with ``pad_id``."""
        starts, ends = self._starts[block_ids, None], self._starts[block_ids + 1, None]
        positions = starts + np.arange(width)
        ids = self._tokens[np.minimum(positions, ends - 1)].astype(np.int64)
        return np.where(positions < ends, ids, pad_id)


class _PartWriter:
    """Writes one part block by block; 8 bytes a block stay in memory."""

    def __init__(self, folder: Path, part: str, dtype: np.dtype[Any], packer: BlockPacker) -> None:
        self._starts_file = folder / f"{part}.starts.npy"
        self._file = (folder / f"{part}.tokens").open("wb")
        self._dtype, self._packer = dtype, packer
        self._starts = array("q", [0])
        self._num_documents = 0

    def add(self, document: NDArray[np.int64]) -> None:
        self._num_documents += 1
        self._write(self._packer.add(document))

    def finish(self) -> dict[str, int]:
        self._write(self._packer.finish())
        self._file.close()
        np.save(self._starts_file, np.frombuffer(self._starts, dtype=np.int64))
        return {"documents": self._num_documents, "blocks": len(self._starts) - 1, "tokens": self._starts[-1]}

    def _write(self, blocks: Iterator[NDArray[np.int64]]) -> None:
        for block in blocks:
            self._file.write(block.astype(self._dtype).tobytes())
            self._starts.append(self._starts[-1] + len(block))

    def __enter__(self) -> _PartWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()


def _build(source: TextSource, tokenizer: PreTrainedTokenizerBase, preparation: Preparation, folder: Path) -> None:
    report = TextReport()
    frame = BlockFrame.of(tokenizer)
    dtype = np.dtype(np.uint16 if len(tokenizer) <= 1 << 16 else np.uint32)
    length, crossing = preparation.block_length, preparation.cross_documents
    packers = [BlockPacker(length, frame, crossing) for _ in PARTS]
    with (
        _PartWriter(folder, TRAIN, dtype, packers[0]) as train,
        _PartWriter(folder, VALIDATION, dtype, packers[1]) as validation,
    ):
        every = preparation.validation_every
        for text, ids in tokenize(kept_documents(source, preparation, report), tokenizer):
            held_out = every and document_key(text) % every == 0
            (validation if held_out else train).add(ids)
        parts = {TRAIN: train.finish(), VALIDATION: validation.finish()}
    write_json(folder / _MANIFEST, {"dtype": dtype.name, "parts": parts, "report": report.as_dict()})


def kept_documents(source: TextSource, preparation: Preparation, report: TextReport) -> Iterator[str]:
    """Yield the documents of a source that are neither duplicates nor dropped for their language; count the others."""
    seen = SeenKeys()
    for text in source.documents(report):
        if preparation.deduplicate and not seen.add(document_key(text)):
            report.duplicates += 1
            continue
        if preparation.language is not None and not preparation.language.keeps(text, report):
            continue
        yield text


def _read_manifest(folder: Path) -> dict[str, Any]:
    try:
        manifest: dict[str, Any] = json.loads((folder / _MANIFEST).read_text(encoding="utf-8"))
        return manifest
    except (OSError, ValueError) as error:
        raise _damaged(folder, f"{_MANIFEST}: {error}") from None


def _damaged(folder: Path, what: str) -> UserError:
    return UserError(f"{folder}: the token cache is damaged ({what}): delete the folder, and it is made again")
