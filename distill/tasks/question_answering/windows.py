"""Question and context pairs cut into overlapping windows, with the offsets that lead back to the original text."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerBase

from distill.tasks.question_answering.composing import compose
from distill.types import Example, UserError

#: Token that stands for "no answer": the first of a window, which holds [CLS] or its like and is never in the context.
NULL_POSITION = 0

#: Tokens in which at least the first character of any question fits, also where a tokenizer cuts it into bytes.
MIN_QUESTION_LENGTH = 8

Characters = NDArray[np.int64]


class _Context(NamedTuple):
    """A context as the model reads it, and for its characters the visible original characters around them."""

    text: str
    starts: Characters
    ends: Characters


def build_windows(
    examples: Sequence[Example],
    tokenizer: PreTrainedTokenizerBase,
    max_length: int = 384,
    doc_stride: int = 128,
    max_question_length: int = 64,
    example_index_offset: int = 0,
) -> dict[str, list[Any]]:
    """Tokenise question and context pairs and cut the contexts into overlapping windows, without padding.

    Text is composed (NFC) for the tokenizer alone; all offsets are characters of the original context.

    Args:
        examples: Questions with contexts; the answer of a window is the first of its example's.
        tokenizer: A fast tokenizer of any family.
        max_length: Longest window in tokens, question and special tokens included.
        doc_stride: How many context tokens consecutive windows share (the ``stride`` of transformers).
        max_question_length: Longest question in tokens; the rest of a longer one is cut off.
        example_index_offset: Index of the first example in the whole data set.

    Returns:
        Columns with one row per window, in the order of the examples and of the text (S_w tokens, C_w of the context):

        - ``example_index``: Index of the example.
        - ``input_ids``, and ``token_type_ids`` where the tokenizer makes them: S_w numbers.
        - ``context_start``, ``context_end``: Token span ``[start, end)`` of the context in the window.
        - ``offset_starts``, ``offset_ends``: C_w numbers, the original characters ``[start, end)`` of each context
          token without surrounding whitespace; equal where a token has nothing visible.
        - ``start_position``, ``end_position``: First and last token of the answer, both inclusive as in transformers;
          :data:`NULL_POSITION` if the question is impossible or its answer is not wholly inside the window.
        - ``question_truncated``: Whether the question was cut, see :func:`count_flagged`.
        - ``answer_unreachable``: Whether an answer exists but no window of the example holds it whole.

        No examples give empty columns.

    Raises:
        UserError: If the tokenizer is slow, or the lengths leave no room for the context to advance.
    """
    check_lengths(tokenizer, max_length, doc_stride, max_question_length)
    questions, truncated = _questions([example.question for example in examples], tokenizer, max_question_length)
    by_text = {text: _read_context(text) for text in dict.fromkeys(example.context for example in examples)}
    contexts = [by_text[example.context] for example in examples]
    columns: dict[str, list[Any]] = {name: [] for name in _column_names(tokenizer)}
    if not examples:
        return columns
    encoded = tokenizer(
        questions,
        [context.text for context in contexts],
        max_length=max_length,
        stride=doc_stride,
        truncation="only_second",
        padding=False,
        return_overflowing_tokens=True,
    )
    windows_of: dict[int, list[int]] = defaultdict(list)
    for window_index, index in enumerate(encoded["overflow_to_sample_mapping"]):
        windows_of[index].append(window_index)
    for index, (example, context) in enumerate(zip(examples, contexts, strict=True)):
        spans, offsets = [], []
        for window_index in windows_of[index]:
            encoding = encoded.encodings[window_index]
            start, end = _context_span(encoding.sequence_ids)
            spans.append((start, end))
            offsets.append(_visible_offsets(encoding.offsets[start:end], context))
        positions = _answer_positions(example, spans, offsets)
        is_unreachable = not example.is_impossible and all(start == NULL_POSITION for start, _ in positions)
        for window_index, span, offset, position in zip(windows_of[index], spans, offsets, positions, strict=True):
            columns["example_index"].append(example_index_offset + index)
            columns["input_ids"].append(encoded["input_ids"][window_index])
            if "token_type_ids" in columns:
                columns["token_type_ids"].append(encoded["token_type_ids"][window_index])
            columns["context_start"].append(span[0])
            columns["context_end"].append(span[1])
            columns["offset_starts"].append(offset[0].tolist())
            columns["offset_ends"].append(offset[1].tolist())
            columns["start_position"].append(position[0])
            columns["end_position"].append(position[1])
            columns["question_truncated"].append(truncated[index])
            columns["answer_unreachable"].append(is_unreachable)
    return columns


def window_texts(
    examples: Sequence[Example], tokenizer: PreTrainedTokenizerBase, max_question_length: int
) -> list[str]:
    """Return every text that is cut into tokens for the windows of some examples, once each.

    Contexts and questions are composed as for :func:`build_windows`; long questions are there whole and cut.
    """
    whole = [compose(example.question).text.strip() for example in examples]
    cut, _ = _questions([example.question for example in examples], tokenizer, max_question_length)
    return list(dict.fromkeys([*whole, *cut, *(compose(example.context).text for example in examples)]))


def count_flagged(columns: dict[str, list[Any]], flag: str) -> int:
    """Return how many examples (not windows) have a true ``question_truncated`` or ``answer_unreachable``."""
    return len({index for index, is_set in zip(columns["example_index"], columns[flag], strict=True) if is_set})


def check_lengths(
    tokenizer: PreTrainedTokenizerBase, max_length: int, doc_stride: int, max_question_length: int
) -> None:
    """Check that every window has room for a question and for context that advances.

    Raises:
        UserError: If the tokenizer is slow, a length is out of range, or the lengths do not fit.
    """
    if not tokenizer.is_fast:
        raise UserError(
            f"{type(tokenizer).__name__} is a slow tokenizer without character offsets: use the fast one of its family"
        )
    if doc_stride < 0:
        raise UserError(f"doc_stride must be at least 0, got {doc_stride}")
    if max_question_length < MIN_QUESTION_LENGTH:
        raise UserError(f"max_question_length must be at least {MIN_QUESTION_LENGTH}, got {max_question_length}")
    num_special = tokenizer.num_special_tokens_to_add(pair=True)
    least = max_question_length + num_special + doc_stride + 1
    if max_length < least:
        raise UserError(
            f"max_length {max_length} is too short: max_question_length {max_question_length} + {num_special} special "
            f"tokens + doc_stride {doc_stride} + 1 = {least} is the least: raise it or lower the others"
        )


def _column_names(tokenizer: PreTrainedTokenizerBase) -> list[str]:
    return [
        "example_index",
        "input_ids",
        *(["token_type_ids"] if "token_type_ids" in tokenizer.model_input_names else []),
        *("context_start", "context_end", "offset_starts", "offset_ends", "start_position", "end_position"),
        *("question_truncated", "answer_unreachable"),
    ]


def _questions(
    questions: Sequence[str], tokenizer: PreTrainedTokenizerBase, max_question_length: int
) -> tuple[list[str], list[bool]]:
    """Return composed questions of at most ``max_question_length`` tokens, and which of them were cut."""
    texts = [compose(question).text.strip() for question in questions]
    if not texts:
        return [], []
    encodings = tokenizer(texts, add_special_tokens=False, truncation=False, verbose=False).encodings
    is_long = [len(encoding.ids) > max_question_length for encoding in encodings]
    cut = [
        _cut(text, tokenizer, max_question_length) if too_long else text
        for text, too_long in zip(texts, is_long, strict=True)
    ]
    return cut, is_long


def _cut(text: str, tokenizer: PreTrainedTokenizerBase, max_tokens: int) -> str:
    """Return a beginning of a text that has at most ``max_tokens`` tokens, cut between tokens."""
    for num_kept in range(max_tokens, 0, -1):
        offsets = tokenizer(text, add_special_tokens=False, truncation=False, verbose=False).encodings[0].offsets
        if len(offsets) <= max_tokens:
            break
        # What is left may fall into other, even more, tokens: the next turn then cuts one token earlier.
        text = text[: offsets[num_kept - 1][1]]
    return text


def _read_context(text: str) -> _Context:
    """Compose a context and move the ends of each character's original span inwards, off whitespace."""
    composed = compose(text)
    is_space = _is_space(text)
    places = np.arange(len(text) + 1)
    # For each place the nearest visible character at or after it, and the end of the nearest one before it.
    next_visible = np.minimum.accumulate(np.where(np.append(is_space, False), len(text), places)[::-1])[::-1]
    last_visible = np.maximum.accumulate(np.where(np.append(False, is_space), 0, places))
    starts = np.asarray(composed.starts, dtype=np.int64)
    ends = np.asarray(composed.ends, dtype=np.int64)
    return _Context(composed.text, next_visible[starts], last_visible[ends])


def _is_space(text: str) -> NDArray[np.bool_]:
    """Return ``character.isspace()`` for every character."""
    characters, places = np.unique(np.frombuffer(text.encode("utf-32-le"), dtype="<u4"), return_inverse=True)
    return np.asarray([chr(character).isspace() for character in characters], dtype=np.bool_)[places]


def _context_span(sequence_ids: Sequence[int | None]) -> tuple[int, int]:
    """Return the token span of the second sequence; an empty one at the end if it has no token."""
    if 1 not in sequence_ids:
        return len(sequence_ids), len(sequence_ids)
    start = sequence_ids.index(1)
    return start, start + sequence_ids.count(1)


def _visible_offsets(offsets: Sequence[tuple[int, int]], context: _Context) -> tuple[Characters, Characters]:
    """Return the original characters of tokens, without the whitespace that tokenizers may count to them."""
    composed = np.asarray(offsets, dtype=np.int64).reshape(-1, 2)
    is_empty = composed[:, 0] >= composed[:, 1]
    first = np.minimum(composed[:, 0], len(context.text) - 1)
    last = np.where(is_empty, first, composed[:, 1] - 1)
    starts = context.starts[first]
    # A token of whitespace alone would start after it ends.
    ends = np.where(is_empty, starts, np.maximum(context.ends[last], starts))
    return starts, ends


def _answer_positions(
    example: Example, spans: Sequence[tuple[int, int]], offsets: Sequence[tuple[Characters, Characters]]
) -> list[tuple[int, int]]:
    """Return the first and last token of the first answer for every window.

    A window holds the answer if its tokens that touch the answer reach as far as those of all windows together; so
    characters that a tokenizer drops cannot hide an answer.
    """
    null = (NULL_POSITION, NULL_POSITION)
    if example.is_impossible:
        return [null] * len(spans)
    text, start_char = example.answers[0]
    end_char = start_char + len(text)
    touching = [np.flatnonzero((starts < end_char) & (ends > start_char) & (ends > starts)) for starts, ends in offsets]
    reach = [
        (int(starts[tokens[0]]), int(ends[tokens[-1]])) if len(tokens) else None
        for tokens, (starts, ends) in zip(touching, offsets, strict=True)
    ]
    found = [window for window in reach if window is not None]
    if not found:
        return [null] * len(spans)
    whole = (min(start for start, _ in found), max(end for _, end in found))
    return [
        (span[0] + int(tokens[0]), span[0] + int(tokens[-1])) if window == whole else null
        for span, tokens, window in zip(spans, touching, reach, strict=True)
    ]
