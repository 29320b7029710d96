"""Which pieces of a vocabulary begin a word, for masking whole words."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerBase
from transformers.convert_slow_tokenizer import bytes_to_unicode

from distill.types import UserError


@dataclass(frozen=True)
class PieceTable:
    """What masking has to know about each of V pieces.

    Attributes:
        begins_word: (V,) bool, whether the piece is written as the beginning of a word: with a space in front in
            byte-level (``Ġ``) and SentencePiece (``▁``) vocabularies, without ``##`` in WordPiece ones.
        stands_alone: (V,) bool, whether the piece holds no letter or digit, as punctuation; it is a word of its own.
        is_special: (V,) bool, special tokens and padding.
        ordinary_ids: Pieces that may replace another at random: all but the special ones.
        mask_id: Id of the mask token.
        pad_id: Id of the padding token.
    """

    begins_word: NDArray[np.bool_]
    stands_alone: NDArray[np.bool_]
    is_special: NDArray[np.bool_]
    ordinary_ids: NDArray[np.int64]
    mask_id: int
    pad_id: int

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
        if kind == "WordPiece":
            begins = [not piece.startswith("##") for piece in pieces]
            texts = [piece.removeprefix("##") for piece in pieces]
        elif kind == "Metaspace":
            begins = [piece.startswith("▁") for piece in pieces]
            texts = [piece.replace("▁", " ") for piece in pieces]
        elif kind == "ByteLevel":
            texts = [_from_byte_level(piece) for piece in pieces]
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


def _from_byte_level(piece: str) -> str:
    """Return the text of a byte-level piece; a part of a character becomes U+FFFD."""
    return bytes(_BYTE_OF.get(character, 0) for character in piece).decode(errors="replace")


def _is_of_a_word(character: str) -> bool:
    # A part of a character is taken for a letter: with few pieces, accented letters are two.
    return character.isalnum() or character == "\N{REPLACEMENT CHARACTER}"


_BYTE_OF = {character: byte for byte, character in bytes_to_unicode().items()}
