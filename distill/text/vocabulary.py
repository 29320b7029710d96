"""Which pieces of a vocabulary begin a word, for masking whole words."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerBase
from transformers.convert_slow_tokenizer import bytes_to_unicode

from distill.types import UserError

#: Stands for bytes that are no whole character.
_BROKEN = "\N{REPLACEMENT CHARACTER}"


@dataclass(frozen=True)
class PieceTable:
    """What masking has to know about each of V pieces.

    Attributes:
        begins_word: (V,) bool, whether the piece is written as the beginning of a word: with a space in front in
            byte-level (``Ġ``) and SentencePiece (``▁``) vocabularies, without ``##`` in WordPiece ones.
        stands_alone: (V,) bool, whether the piece holds no letter or digit, as punctuation; it is a word of its own.
            Pieces that are no whole characters are not among them: what they are shows beside each other alone.
        is_special: (V,) bool, special tokens and padding.
        ordinary_ids: Pieces that may replace another at random: all but the special ones.
        mask_id: Id of the mask token.
        pad_id: Id of the padding token.
        fragments: Id of each piece that holds a part of a character to its bytes; byte-level vocabularies have some.
    """

    begins_word: NDArray[np.bool_]
    stands_alone: NDArray[np.bool_]
    is_special: NDArray[np.bool_]
    ordinary_ids: NDArray[np.int64]
    mask_id: int
    pad_id: int
    fragments: dict[int, bytes] = field(default_factory=dict)

    @cached_property
    def is_fragment(self) -> NDArray[np.bool_]:
        """(V,) bool, whether the piece holds a part of a character."""
        flags = np.zeros(len(self.begins_word), dtype=bool)
        flags[list(self.fragments)] = True
        return flags

    @classmethod
    def of(cls, tokenizer: PreTrainedTokenizerBase) -> PieceTable:
        """Derive the table from a tokenizer's vocabulary.

        Raises:
            UserError: If it has no mask or padding token, or the vocabulary shows no way to tell where words begin.
        """
        name = tokenizer.name_or_path
        for token, token_id in (("mask", tokenizer.mask_token_id), ("padding", tokenizer.pad_token_id)):
            if token_id is None:
                raise UserError(f"{name}: the tokenizer has no {token} token, which masked-language models need")
        pieces: list[str] = tokenizer.convert_ids_to_tokens(list(range(len(tokenizer))))
        kind = _kind(tokenizer)
        fragments: dict[int, bytes] = {}
        if kind == "WordPiece":
            begins = [not piece.startswith("##") for piece in pieces]
            texts = [piece.removeprefix("##") for piece in pieces]
        elif kind == "Metaspace":
            begins = [piece.startswith("▁") for piece in pieces]
            texts = [piece.replace("▁", " ") for piece in pieces]
        elif kind == "ByteLevel":
            contents = [_bytes_of(piece) for piece in pieces]
            texts = [content.decode(errors="replace") for content in contents]
            fragments = {i: contents[i] for i, text in enumerate(texts) if _BROKEN in text}
            begins = [text[:1].isspace() for text in texts]
        else:
            raise UserError(
                f"{name}: cannot tell where words begin: a byte-level, WordPiece or SentencePiece tokenizer is needed"
            )
        is_special = np.zeros(len(pieces), dtype=bool)
        is_special[tokenizer.all_special_ids] = True
        return cls(
            begins_word=np.array(begins, dtype=bool),
            stands_alone=np.array([not any(map(_is_of_a_word, text)) for text in texts], dtype=bool),
            is_special=is_special,
            ordinary_ids=np.flatnonzero(~is_special),
            mask_id=int(tokenizer.mask_token_id),
            pad_id=int(tokenizer.pad_token_id),
            fragments=fragments,
        )


def _kind(tokenizer: PreTrainedTokenizerBase) -> str | None:
    """Return the part of the tokenizer that knows about word beginnings, wherever it stands."""
    backend = json.loads(tokenizer.backend_tokenizer.to_str())
    nodes = [node for part in ("pre_tokenizer", "decoder", "model") for node in _nodes(backend[part])]
    names = {node.get("type") for node in nodes}
    # Some families spell the space mark out as a replacement of their own.
    if any(node.get("pattern") == {"String": "▁"} for node in nodes):
        names.add("Metaspace")
    return next((kind for kind in ("ByteLevel", "Metaspace", "WordPiece") if kind in names), None)


def _nodes(node: Any) -> list[dict[str, Any]]:
    if not isinstance(node, dict):
        return []
    inner = [child for key in ("pretokenizers", "decoders") for child in node.get(key, ())]
    return [node, *(found for child in inner for found in _nodes(child))]


def _bytes_of(piece: str) -> bytes:
    """Return what a byte-level piece stands for."""
    return bytes(_BYTE_OF.get(character, 0) for character in piece)


def _is_of_a_word(character: str) -> bool:
    # A part of a character is taken for a letter unless those beside it say otherwise.
    return character.isalnum() or character == _BROKEN


_BYTE_OF = {character: byte for byte, character in bytes_to_unicode().items()}
