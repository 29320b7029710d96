"""Which pieces a tokenizer's model cannot do without if it is to cut some texts as it did."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable
from typing import Any

from tokenizers import Tokenizer

from distill.types import UserError


def kept_pieces(
    backend: dict[str, Any], tokenizer: Tokenizer, wanted: Collection[str], texts: Iterable[str]
) -> set[str]:
    """Return the pieces that a smaller vocabulary must have.

    Args:
        backend: The tokenizer as plain data, as ``tokenizer.json`` has it.
        tokenizer: The same, to run.
        wanted: Pieces that occur in the texts, or that are wanted anyway.
        texts: What must be cut as before.

    Returns:
        ``wanted``, all single characters and bytes, and what the kind of model needs to arrive at them.

    Raises:
        UserError: If the kind of tokenizer is not known.
    """
    model = backend["model"]
    rules = {"BPE": _bpe, "WordPiece": _wordpiece, "Unigram": _unigram}
    if model["type"] not in rules:
        raise UserError(
            f"student.vocabulary trimmed: {model['type']} tokenizers are not known ({', '.join(rules)} are); use full"
        )
    pieces = tokenizer.get_vocab(with_added_tokens=False)
    kept = {piece for piece in pieces if _is_character(piece, model)} | set(wanted)
    if model.get("unk_token") in pieces:
        kept.add(model["unk_token"])
    return rules[model["type"]](model, tokenizer, kept, texts)


def split_merge(merge: Any) -> tuple[str, str]:
    """Return the two sides of a merge, which older files write as one string with a space."""
    left, right = merge.split(" ") if isinstance(merge, str) else merge
    return left, right


def merged(left: str, right: str, prefix: str | None) -> str:
    """Return the piece that a merge makes; the prefix of a word's later pieces is not repeated inside it."""
    return left + (right.removeprefix(prefix) if prefix else right)


def _is_character(piece: str, model: dict[str, Any]) -> bool:
    """Whether a piece is one character or byte, the marks of its place in a word left aside."""
    if len(piece) == 6 and piece.startswith("<0x") and piece.endswith(">"):
        return True
    bare = piece.removeprefix(model.get("continuing_subword_prefix") or "")
    return len(bare.removesuffix(model.get("end_of_word_suffix") or "")) <= 1


def _bpe(model: dict[str, Any], tokenizer: Tokenizer, kept: set[str], texts: Iterable[str]) -> set[str]:
    """Add the pieces that kept ones are merged from, and theirs.

    With them the merges that ever took place in the texts are all there; that others are gone changes nothing, since
    at each step the first of the possible merges in their order takes place.
    """
    sides: dict[str, set[str]] = defaultdict(set)
    for left, right in map(split_merge, model["merges"]):
        sides[merged(left, right, model.get("continuing_subword_prefix"))] |= {left, right}
    waiting = list(kept)
    while waiting:
        new = sides[waiting.pop()] - kept
        kept |= new
        waiting += new
    return kept


def _wordpiece(model: dict[str, Any], tokenizer: Tokenizer, kept: set[str], texts: Iterable[str]) -> set[str]:
    """Add what words were cut into before the rest of them turned out to be unknown.

    Without these longest beginnings another cut would be tried, which might go through.
    """
    pieces = tokenizer.get_vocab(with_added_tokens=False)
    unknown = tokenizer.token_to_id(model["unk_token"])
    for text in texts:
        if unknown in tokenizer.encode(text, add_special_tokens=False).ids:
            normal = tokenizer.normalizer.normalize_str(text) if tokenizer.normalizer else text
            words = tokenizer.pre_tokenizer.pre_tokenize_str(normal) if tokenizer.pre_tokenizer else [(normal, None)]
            for word, _ in words:
                kept |= _longest_beginnings(word, pieces.keys(), model["continuing_subword_prefix"])
    return kept


def _longest_beginnings(word: str, pieces: Collection[str], prefix: str) -> set[str]:
    """Return the pieces that WordPiece takes one after the other, as far as it comes."""
    found: set[str] = set()
    start = 0
    while start < len(word):
        mark = prefix if start else ""
        end = next((end for end in range(len(word), start, -1) if mark + word[start:end] in pieces), None)
        if end is None:
            break
        found.add(mark + word[start:end])
        start = end
    return found


def _unigram(model: dict[str, Any], tokenizer: Tokenizer, kept: set[str], texts: Iterable[str]) -> set[str]:
    """Add the piece for what is unknown and the least likely one, from which its score is reckoned.

    The most likely way to cut a text stays the most likely one when others are gone.
    """
    if model.get("unk_id") is not None:
        kept.add(model["vocab"][model["unk_id"]][0])
    kept.add(min(model["vocab"], key=lambda piece: piece[1])[0])
    return kept
