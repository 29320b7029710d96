"""From words with labels to windows of sub-words with labels."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerBase

from distill.tasks.labelled import IGNORED
from distill.tasks.tagging.examples import TaggedSentence
from distill.types import UserError

#: Share of a window that it has in common with the next one of its sentence.
OVERLAP = 0.25


def build_windows(
    sentences: Sequence[TaggedSentence],
    tokenizer: PreTrainedTokenizerBase,
    label_ids: Mapping[str, int],
    max_length: int,
    first_index: int = 0,
) -> dict[str, list[Any]]:
    """Cut sentences into windows of at most ``max_length`` tokens and give the first sub-word of each word its label.

    The words are joined by spaces and cut as any text is. A word's label stands at its first sub-word that shows a
    character of it (not at a space by itself), all else holds ``IGNORED``. A sentence that is too long becomes several
    windows that overlap; every word is labelled in exactly one of them, the one where it stands farthest from both
    ends. A word that the tokenizer drops altogether stands as its unknown token. Without labels the first sub-words
    hold class 0, to say where the words are. The words are put into Unicode's composed form (NFC) for the model alone.

    Returns:
        Columns with an entry for each window: ``example_index``, ``input_ids``, ``token_type_ids`` where the tokenizer
        makes them, ``label_ids`` (as long as ``input_ids``), ``word_ids`` (the words labelled here, in order), and
        ``is_cut`` (always false: nothing is lost).

    Raises:
        UserError: If the tokenizer drops a word and has no unknown token.
    """
    spoken = [_spoken(sentence, tokenizer) for sentence in sentences]
    columns: dict[str, list[Any]] = {name: [] for name in column_names(tokenizer)}
    if not spoken:
        return columns
    room = max_length - tokenizer.num_special_tokens_to_add(pair=False)
    encoded = tokenizer(
        [text for text, _ in spoken],
        truncation=True,
        max_length=max_length,
        stride=int(OVERLAP * room),
        return_overflowing_tokens=True,
        verbose=False,
    )
    encodings = encoded.encodings
    owners = list(encoded["overflow_to_sample_mapping"])
    starts = [0, *(i for i, (left, right) in enumerate(pairwise(owners), start=1) if left != right), len(owners)]
    for sentence_index, (start, end) in enumerate(pairwise(starts)):
        sentence = sentences[sentence_index]
        places = [_first_places(encodings[i], *spoken[sentence_index]) for i in range(start, end)]
        lengths = [len(encodings[i].ids) for i in range(start, end)]
        homes = _homes(places, lengths)
        for number, (window, length) in enumerate(zip(range(start, end), lengths, strict=True)):
            labels = [IGNORED] * length
            word_ids = [int(word) for word in np.flatnonzero(homes == number)]
            for word in word_ids:
                labels[places[number][word]] = label_ids[sentence.labels[word]] if sentence.labels else 0
            columns["example_index"].append(first_index + sentence_index)
            for name in columns.keys() & {"input_ids", "token_type_ids"}:
                columns[name].append(encoded[name][window])
            columns["label_ids"].append(labels)
            columns["word_ids"].append(word_ids)
            columns["is_cut"].append(False)
    return columns


def column_names(tokenizer: PreTrainedTokenizerBase) -> list[str]:
    """Return the names of the columns of :func:`build_windows`."""
    types = ["token_type_ids"] if "token_type_ids" in tokenizer.model_input_names else []
    return ["example_index", "input_ids", *types, "label_ids", "word_ids", "is_cut"]


def _spoken(sentence: TaggedSentence, tokenizer: PreTrainedTokenizerBase) -> tuple[str, NDArray[np.int64]]:
    """Return a sentence as the model reads it, and the character at which the first token of each word begins."""
    words = [unicodedata.normalize("NFC", word) for word in sentence.words]
    while True:
        text = " ".join(words)
        ends = np.cumsum([len(word) + 1 for word in words]) - 1
        first_chars = np.full(len(words), -1, dtype=np.int64)
        for start, _ in _visible_offsets(tokenizer(text, truncation=False, verbose=False).encodings[0], text):
            word = int(np.searchsorted(ends, start, side="right"))
            if first_chars[word] < 0:
                first_chars[word] = start
        dropped = np.flatnonzero(first_chars < 0)
        if not len(dropped):
            return text, first_chars
        if tokenizer.unk_token is None or any(words[index] == tokenizer.unk_token for index in dropped):
            raise UserError(
                f"{sentence.sentence_id}: the tokenizer has no token for the word {sentence.words[dropped[0]]!r}: "
                "remove it"
            )
        for index in dropped:
            words[index] = tokenizer.unk_token


def _first_places(encoding: Any, text: str, first_chars: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the first token of each word in a window, -1 where the window does not hold it."""
    places: dict[int, int] = {}
    for start, place in _visible_offsets(encoding, text):
        places.setdefault(start, place)
    return np.asarray([places.get(int(char), -1) for char in first_chars], dtype=np.int64)


def _visible_offsets(encoding: Any, text: str) -> Iterator[tuple[int, int]]:
    """Yield the first visible character and the place of every token of the text that shows any.

    Some tokenizers count the space before a word to its first token, or cut it off as a token of its own.
    """
    for place, ((start, end), sequence) in enumerate(zip(encoding.offsets, encoding.sequence_ids, strict=True)):
        first = next((char for char in range(start, end) if not text[char].isspace()), None)
        if sequence is not None and first is not None:
            yield first, place


def _homes(places: Sequence[NDArray[np.int64]], lengths: Sequence[int]) -> NDArray[np.int64]:
    """Return the window in which each word is labelled: where its first token is farthest from both ends."""
    margins = [
        np.where(window >= 0, np.minimum(window, length - 1 - window), -1)
        for window, length in zip(places, lengths, strict=True)
    ]
    return np.stack(margins).argmax(0)
