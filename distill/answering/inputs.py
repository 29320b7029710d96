"""Every shape in which questions are asked, as one: a question and its contexts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from distill.types import UserError


@dataclass(frozen=True, slots=True)
class Item:
    """One question about one or several contexts; ``has_several`` tells a list of one context from a single one."""

    question: str
    contexts: tuple[str, ...]
    has_several: bool = False


class Asked(NamedTuple):
    """What was asked, and what to give back: one answer, a list of them, or an iterator that answers as it is read."""

    items: Iterable[Item]
    form: Literal["one", "list", "iterator"]


def read_input(question: Any, context: Any = None) -> Asked:
    """Return the questions behind a call.

    =====================================================  =================================  ==========
    ``question``                                           ``context``                        gives
    =====================================================  =================================  ==========
    text                                                   text                               one
    text                                                   list of texts, searched together   one
    list of texts                                          text, shared by all                list
    list of texts                                          list, one (text or list) for each  list
    ``{"question": ..., "context": text or list}``         left out                           one
    list or tuple of such                                  left out                           list
    any other iterable of such (data set, generator)       left out                           iterator
    =====================================================  =================================  ==========

    Raises:
        UserError: If the two do not fit, or an item is wrong; the message counts items from 0. What is in an iterator
            is checked when its turn comes.
    """
    if context is not None:
        if isinstance(question, str):
            return Asked([_item(question, context, "")], "one")
        if not isinstance(question, list | tuple):
            raise UserError(f"question must be text or a list of texts beside a context, got {_kind(question)}")
        contexts = [context] * len(question) if isinstance(context, str) else context
        if not isinstance(contexts, list | tuple):
            raise UserError(f"context must be text or a list, got {_kind(context)}")
        if len(contexts) != len(question):
            raise UserError(f"{len(question)} questions need as many contexts or one for all, got {len(contexts)}")
        pairs = zip(question, contexts, strict=True)
        return Asked([_item(*pair, f"item {index}: ") for index, pair in enumerate(pairs)], "list")
    if isinstance(question, str):
        raise UserError("a question needs a context: give both, or items like {'question': ..., 'context': ...}")
    if isinstance(question, Mapping):
        return Asked([read_item(question)], "one")
    if isinstance(question, list | tuple):
        return Asked([read_item(raw, f"item {index}: ") for index, raw in enumerate(question)], "list")
    if isinstance(question, Iterable):
        return Asked(_lazily(question), "iterator")
    raise UserError(f"question must be text, items with question and context, or an iterable, got {_kind(question)}")


def _lazily(raws: Iterable[Any]) -> Iterator[Item]:
    for index, raw in enumerate(raws):
        yield read_item(raw, f"item {index}: ")


def read_item(raw: Any, where: str = "") -> Item:
    """Return the question behind an object with ``question`` and ``context``; an :class:`Item` is one already.

    Raises:
        UserError: If a key is missing, or a text is none, empty or not Unicode; the message begins with ``where``.
    """
    if isinstance(raw, Item):
        return raw
    if not isinstance(raw, Mapping):
        raise UserError(f"{where}expected an object with 'question' and 'context', got {_kind(raw)}")
    for key in ("question", "context"):
        if raw.get(key) is None:
            raise UserError(f"{where}{key!r} is missing")
    return _item(raw["question"], raw["context"], where)


def _item(question: Any, context: Any, where: str) -> Item:
    contexts = (context,) if isinstance(context, str) else context
    if not isinstance(contexts, Sequence) or isinstance(contexts, bytes):
        raise UserError(f"{where}context must be text or a list of texts, got {_kind(context)}")
    if not contexts:
        raise UserError(f"{where}the list of contexts is empty")
    for name, text in (("question", question), *(("context", text) for text in contexts)):
        if not isinstance(text, str):
            raise UserError(f"{where}{name} must be text, got {_kind(text)}")
        if not text.strip():
            raise UserError(f"{where}{name} is empty")
        try:
            text.encode()
        except UnicodeEncodeError:
            message = f"{where}{name} holds half of a surrogate pair (\\ud800-\\udfff): correct the text"
            raise UserError(message) from None
    return Item(question, tuple(contexts), has_several=not isinstance(context, str))


def _kind(value: object) -> str:
    return "nothing" if value is None else f"a value of type {type(value).__name__}"
