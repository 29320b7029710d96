"""Vocabularies without the pieces that a language never uses, and the way back to the teacher's ids."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import groupby, islice
from operator import itemgetter
from typing import Any

import torch
from tokenizers import Tokenizer
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from distill.models.loading import check_same_tokenizer
from distill.models.pieces import kept_pieces, merged, split_merge
from distill.types import UserError

#: Texts that are cut at a time; bounds the memory.
CHUNK_SIZE = 1000

#: What a tokenizer is made of beside its pieces.
_RULES = ("normalizer", "pre_tokenizer", "decoder")


def trim_tokenizer(tokenizer: PreTrainedTokenizerBase, texts: Iterable[str]) -> PreTrainedTokenizerBase:
    """Return a tokenizer with those pieces alone that cut ``texts``, which it cuts exactly as before.

    Kept are the pieces that occur; the pieces that byte-pair merges build them from; all special and added tokens; all
    single characters and bytes, so that any other text can still be cut, into smaller pieces where its own are gone;
    and the ids up to the padding's, from which some models count positions. Order is kept, ids close up. Byte-pair,
    WordPiece and Unigram tokenizers are known.

    Args:
        tokenizer: A fast tokenizer.
        texts: What decides; read from the start several times.

    Raises:
        UserError: If the tokenizer is of another kind, or some text would be cut otherwise.
    """
    backend = _plain_backend(tokenizer)
    original = Tokenizer.from_str(json.dumps(backend))
    used = {token_id for encoding in _encodings(original, texts) for token_id in encoding.ids}
    pieces = original.get_vocab(with_added_tokens=False)
    added = {token["content"] for token in backend["added_tokens"]}
    padding = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else -1
    wanted = {piece for piece, token_id in pieces.items() if token_id in used or token_id <= padding}
    kept = kept_pieces(backend, original, wanted | (added & pieces.keys()), texts)
    ordered = sorted(kept, key=pieces.__getitem__)
    ordered += [token["content"] for token in backend["added_tokens"] if token["content"] not in pieces]
    new_ids = {piece: new_id for new_id, piece in enumerate(ordered)}
    trimmed = Tokenizer.from_str(json.dumps(_renumbered(backend, new_ids)))
    old_ids = [original.token_to_id(piece) for piece in ordered]
    is_changed = [
        before.ids != [old_ids[token_id] for token_id in after.ids]
        for before, after in zip(_encodings(original, texts), _encodings(trimmed, texts), strict=True)
    ]
    if changed := sum(is_changed):
        raise UserError(
            f"student.vocabulary trimmed would cut {changed} of {len(is_changed)} texts otherwise; use full"
        )
    return PreTrainedTokenizerFast(
        tokenizer_object=trimmed,
        model_max_length=tokenizer.model_max_length,
        padding_side=tokenizer.padding_side,
        truncation_side=tokenizer.truncation_side,
        model_input_names=tokenizer.model_input_names,
        **tokenizer.special_tokens_map,
    )


def count_recut_words(
    full: PreTrainedTokenizerBase, trimmed: PreTrainedTokenizerBase, texts: Iterable[str]
) -> tuple[int, int]:
    """Return how many words of some texts a trimmed tokenizer cuts otherwise than the full one, and how many there are.

    Words are what the tokenizer's own rules part a text into before they cut it, each time that they occur.

    Args:
        full: The tokenizer with all its pieces.
        trimmed: The same without some, see :func:`trim_tokenizer`.
        texts: What to count in; read from the start twice.
    """
    backends = [Tokenizer.from_str(json.dumps(_plain_backend(tokenizer))) for tokenizer in (full, trimmed)]
    num_recut = num_words = 0
    for encodings in zip(*(_encodings(backend, texts) for backend in backends), strict=True):
        before, after = map(_words, encodings)
        num_words += len(before)
        num_recut += sum(mine != other for mine, other in zip(before, after, strict=True))
    return num_recut, num_words


def _words(encoding: Any) -> list[list[str]]:
    """Return the pieces of each word."""
    by_word = groupby(zip(encoding.word_ids, encoding.tokens, strict=True), key=itemgetter(0))
    return [[piece for _, piece in pieces] for _, pieces in by_word]


def teacher_ids(student: PreTrainedTokenizerBase, teacher: PreTrainedTokenizerBase) -> Tensor | None:
    """Return the teacher's id of each of the student's pieces, (V_s,) int64, or nothing where all are the same.

    Raises:
        UserError: If the student has a piece that the teacher lacks, or the two follow different rules.
    """
    mine, others = student.get_vocab(), teacher.get_vocab()
    if mine == others or not mine.keys() <= others.keys() or _rules(student) != _rules(teacher):
        check_same_tokenizer(student, teacher)
        return None
    ids = torch.zeros(max(mine.values()) + 1, dtype=torch.int64, device="cpu")
    for piece, token_id in mine.items():
        ids[token_id] = others[piece]
    return ids


def vocabulary_digest(ids: Tensor) -> str:
    """Return a short hash of which of the teacher's pieces a student has, and in which order."""
    return hashlib.sha256(ids.cpu().numpy().tobytes()).hexdigest()[:16]


def read_student_ids(model: PreTrainedModel, ids: Tensor) -> PreTrainedModel:
    """Let a model take the student's ids in place of its own; return it.

    Everything that calls the model, for training, scores or speed, may then hand it the student's batches. Nothing of
    the model's weights changes. A teacher that several tasks share is given the same ids by each, and takes them once.

    Args:
        model: The teacher.
        ids: (V_s,) the model's own id of each id of the student.

    Raises:
        ValueError: If the model takes other ids already.
    """
    known = getattr(model, "own_ids", None)
    if known is not None:
        if not torch.equal(known.cpu(), ids.cpu()):
            raise ValueError("the teacher takes the ids of another student already")
        return model
    # A buffer, so that it follows the model to its device; not saved with it.
    model.register_buffer("own_ids", ids, persistent=False)
    model.register_forward_pre_hook(_translate, with_kwargs=True)
    return model


@contextmanager
def reading_own_ids(model: PreTrainedModel) -> Iterator[None]:
    """Let a model that takes the student's ids take its own within the context; of any other nothing changes."""
    model.reads_own_ids = True
    try:
        yield
    finally:
        model.reads_own_ids = False


def _translate(model: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    if getattr(model, "reads_own_ids", False):
        return args, kwargs
    return args, {**kwargs, "input_ids": model.own_ids[kwargs["input_ids"]]}


def select_pieces(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, ids: Tensor) -> PreTrainedModel:
    """Leave a model the embeddings of some pieces alone, in place; return it.

    Args:
        model: A model whose vocabulary is the full one; its word embeddings and the output over the vocabulary, where
            it has one, lose rows.
        tokenizer: The tokenizer of the pieces that are left.
        ids: (V_s,) their rows in the full vocabulary, see :func:`teacher_ids`.
    """
    config = model.config
    new_ids = {int(old): new for new, old in enumerate(ids.tolist())}
    embeddings, output = model.get_input_embeddings(), model.get_output_embeddings()
    parameters = [embeddings.weight]
    if output is not None:
        parameters += [parameter for parameter in output.parameters() if parameter is not embeddings.weight]  # tied
    for parameter in parameters:
        _replace(model, parameter, nn.Parameter(parameter.detach()[ids.to(parameter.device)].clone()))
    embeddings.num_embeddings = len(ids)
    if embeddings.padding_idx is not None:
        embeddings.padding_idx = new_ids.get(embeddings.padding_idx)
    if output is not None:
        output.out_features = len(ids)
    config.vocab_size = len(tokenizer)
    for name, value in config.to_dict().items():
        if name.endswith("_token_id") and isinstance(value, int):
            setattr(config, name, new_ids.get(value))
    return model


def _replace(model: nn.Module, old: nn.Parameter, new: nn.Parameter) -> None:
    """Put a parameter in the place of another one, wherever it is tied to."""
    for module in model.modules():
        for name, parameter in module.named_parameters(recurse=False, remove_duplicate=False):
            if parameter is old:
                setattr(module, name, new)


def _encodings(tokenizer: Tokenizer, texts: Iterable[str]) -> Iterator[Any]:
    remaining = iter(texts)
    while chunk := list(islice(remaining, CHUNK_SIZE)):
        yield from tokenizer.encode_batch(chunk, add_special_tokens=False)


def _plain_backend(tokenizer: PreTrainedTokenizerBase) -> dict[str, Any]:
    """Return a tokenizer's description without truncation and padding, which the latest call has left in it."""
    backend = json.loads(tokenizer.backend_tokenizer.to_str())
    return {**backend, "truncation": None, "padding": None}


def _rules(tokenizer: PreTrainedTokenizerBase) -> list[Any]:
    """Return how a tokenizer cuts text, its pieces left aside."""
    backend = _plain_backend(tokenizer)
    model = {name: value for name, value in backend["model"].items() if name not in ("vocab", "merges", "unk_id")}
    return [model, *(backend[part] for part in _RULES), _renumbered_processor(backend["post_processor"], lambda _: 0)]


def _renumbered(backend: dict[str, Any], new_ids: dict[str, int]) -> dict[str, Any]:
    """Return the description of a tokenizer that knows the pieces of ``new_ids`` alone, by these ids."""
    model = dict(backend["model"])
    if isinstance(model["vocab"], dict):
        model["vocab"] = {piece: new_ids[piece] for piece in model["vocab"] if piece in new_ids}
    else:
        unknown = model["vocab"][model["unk_id"]][0] if model.get("unk_id") is not None else None
        model["vocab"] = [[piece, score] for piece, score in model["vocab"] if piece in new_ids]
        model["unk_id"] = new_ids[unknown] if unknown is not None else None
    if "merges" in model:
        prefix = model.get("continuing_subword_prefix")
        pairs = map(split_merge, model["merges"])
        model["merges"] = [[a, b] for a, b in pairs if {a, b, merged(a, b, prefix)} <= new_ids.keys()]
    added = [{**token, "id": new_ids[token["content"]]} for token in backend["added_tokens"]]
    processor = _renumbered_processor(backend["post_processor"], new_ids.__getitem__)
    return {**backend, "model": model, "added_tokens": added, "post_processor": processor}


def _renumbered_processor(processor: Any, new_id: Callable[[str], int]) -> Any:
    """Return what adds special tokens, with their new ids."""
    if not isinstance(processor, dict):
        return processor
    if processor["type"] == "Sequence":
        return {**processor, "processors": [_renumbered_processor(part, new_id) for part in processor["processors"]]}
    changed = dict(processor)
    for name in ("sep", "cls"):
        if name in processor:
            changed[name] = [processor[name][0], new_id(processor[name][0])]
    if "special_tokens" in processor:
        changed["special_tokens"] = {
            name: {**token, "ids": [new_id(piece) for piece in token["tokens"]]}
            for name, token in processor["special_tokens"].items()
        }
    return changed
