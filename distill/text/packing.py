"""Packing tokenised documents into blocks."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerBase

from distill.types import UserError

#: Characters that are tokenised together: enough to keep the tokenizer busy, few enough to keep memory flat.
_BATCH_CHARS = 1 << 20
_PROBE = "uno"


@dataclass(frozen=True)
class BlockFrame:
    """What stands around and between the documents of a block, as token ids.

    Attributes:
        start: In front of every block; ``<s>`` for RoBERTa, ``[CLS]`` for BERT.
        end: Behind every block; ``</s>`` or ``[SEP]``.
        separator: Between two documents of a block.
    """

    start: tuple[int, ...]
    end: tuple[int, ...]
    separator: int

    @classmethod
    def of(cls, tokenizer: PreTrainedTokenizerBase) -> BlockFrame:
        """Read off what a tokenizer puts around a single text.

        Raises:
            UserError: If it has no token to separate documents by.
        """
        separator = tokenizer.sep_token_id if tokenizer.sep_token_id is not None else tokenizer.eos_token_id
        if separator is None:
            raise UserError(f"{tokenizer.name_or_path}: the tokenizer has neither sep_token nor eos_token: set one")
        bare = tokenizer(_PROBE, add_special_tokens=False)["input_ids"]
        framed = tokenizer(_PROBE)["input_ids"]
        at = next(i for i in range(len(framed)) if framed[i : i + len(bare)] == bare)
        return cls(tuple(framed[:at]), tuple(framed[at + len(bare) :]), int(separator))

    def __len__(self) -> int:
        """Return how many tokens of a block are not text."""
        return len(self.start) + len(self.end)


class BlockPacker:
    """Lays documents one after another into blocks of ``block_length`` tokens.

    A document that does not fit into what is left of a block goes on in the next. Two documents in one block have the
    separator between them; no block begins or ends with one. Only the last block, and one with a single place left
    behind the end of a document, is shorter than ``block_length``.

    Args:
        block_length: Tokens of a block, special tokens included.
        frame: The special tokens.
        cross_documents: Whether a block may hold several documents; else each begins a block of its own.
    """

    def __init__(self, block_length: int, frame: BlockFrame, cross_documents: bool = True) -> None:
        self._capacity = block_length - len(frame)
        self._frame = frame
        self._cross_documents = cross_documents
        self._held: list[NDArray[np.int64]] = []
        self._num_held = 0

    def add(self, document: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
        """Add the ids of a document; yield the blocks that are full by now."""
        if self._num_held and len(document):
            if not self._cross_documents or self._num_held + 2 > self._capacity:
                yield from self.finish()
            else:
                self._hold(np.array([self._frame.separator]))
        while len(document):
            room = self._capacity - self._num_held
            self._hold(document[:room])
            document = document[room:]
            if self._num_held == self._capacity:
                yield from self.finish()

    def finish(self) -> Iterator[NDArray[np.int64]]:
        """Yield what is held as a block, full or not."""
        if self._held:
            yield np.concatenate([self._frame.start, *self._held, self._frame.end]).astype(np.int64)
            self._held, self._num_held = [], 0

    def _hold(self, ids: NDArray[np.int64]) -> None:
        self._held.append(ids)
        self._num_held += len(ids)


def tokenize(documents: Iterable[str], tokenizer: PreTrainedTokenizerBase) -> Iterator[tuple[str, NDArray[np.int64]]]:
    """Yield each document with its token ids, without special tokens, a batch of documents at a time.

    Text is composed (NFC), as that of every task. What reads like a special token in it (``<mask>`` in a page about
    masks) is cut as ordinary text.
    """
    # A copy: truncation, padding and the treatment of special tokens are settings that others may rely on.
    backend = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
    backend.no_truncation()
    backend.no_padding()
    backend.encode_special_tokens = True
    for batch in _batches(documents):
        composed = [unicodedata.normalize("NFC", text) for text in batch]
        for text, encoding in zip(batch, backend.encode_batch_fast(composed, add_special_tokens=False), strict=True):
            yield text, np.asarray(encoding.ids, dtype=np.int64)


def backend_state(tokenizer: PreTrainedTokenizerBase) -> dict[str, Any]:
    """Return everything that decides how a tokenizer cuts text, as JSON holds it, for fingerprints."""
    # Truncation and padding are settings of the latest call, not of the tokenizer.
    return {**json.loads(tokenizer.backend_tokenizer.to_str()), "truncation": None, "padding": None}


def _batches(documents: Iterable[str]) -> Iterator[Sequence[str]]:
    batch: list[str] = []
    num_chars = 0
    for document in documents:
        batch.append(document)
        num_chars += len(document)
        if num_chars >= _BATCH_CHARS:
            yield batch
            batch, num_chars = [], 0
    if batch:
        yield batch
