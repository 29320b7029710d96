"""Tagged sentences from CoNLL columns, CoNLL-U, JSON lines and hub sets."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from distill.tasks.rows import (
    check_any_label,
    check_text,
    class_name,
    class_names,
    hub_source,
    json_rows,
    listed,
    load_rows,
    read_lines,
    shown,
    unknown_label,
)
from distill.tasks.tagging.examples import TaggedSentence
from distill.types import UserError

#: Column names under which words and labels are looked for in JSON lines and hub sets, the first one found counts.
WORDS_NAMES = ("tokens", "words")
LABELS_NAMES = ("labels", "tags", "ner_tags", "upos", "pos_tags")

#: The columns of CoNLL-U, https://universaldependencies.org/format.html.
CONLLU_COLUMNS = ("ID", "FORM", "LEMMA", "UPOS", "XPOS", "FEATS", "HEAD", "DEPREL", "DEPS", "MISC")
_WORD_ID, _RANGE_OR_EMPTY = re.compile(r"[1-9]\d*"), re.compile(r"[1-9]\d*-[1-9]\d*|\d+\.[1-9]\d*")
_SEPARATOR = re.compile(r"[ \t]+")
_FILE_SUFFIXES = (".conll", ".txt", ".bio", ".iob", ".tsv", ".conllu", ".jsonl")

#: A word and its label as they stand; what is needed to say where.
_Rows = list[tuple[int, str, str | None]]


class SentenceReader:
    """Reads tagged sentences under one policy: what is wrong is an error that names file and line.

    The name of a file decides its form: ``.conllu`` is CoNLL-U, ``.jsonl`` JSON lines, anything else columns parted by
    spaces and tabs with an empty line between sentences (CoNLL-2000 to 2003; ``-DOCSTART-`` lines are passed over and
    counted); any other character, such as a no-break space, is part of a word. Contracted words of CoNLL-U
    (``13-14 al``) and empty nodes (``5.1``) are passed over and counted; their parts are the words.

    Args:
        labels: The labels that may occur.
        label_column: Where the labels stand: a number of a column, from 0 or from -1 at the end, in columns; a column's
            name in CoNLL-U; a key or column in JSON lines and hub sets. When left out the last column, ``UPOS``, and
            the first of ``labels``, ``tags``, ``ner_tags``, ``upos``, ``pos_tags``.
        require_labels: Whether sentences must have labels; else none are read.
    """

    def __init__(
        self, labels: Sequence[str], label_column: int | str | None = None, require_labels: bool = True
    ) -> None:
        self.labels = tuple(labels)
        self.label_column = label_column
        self.require_labels = require_labels
        self.counts: Counter[str] = Counter()

    def read(self, files: Sequence[str | Path]) -> list[TaggedSentence]:
        """Return the sentences of files, and folders of them, in order.

        Raises:
            UserError: If a file cannot be read, is malformed, holds an unknown label, or holds no sentence.
        """
        sentences: list[TaggedSentence] = []
        for path, name in listed(files, _FILE_SUFFIXES).items():
            found = list(self._read_file(path, name))
            if not found:
                raise UserError(f"{path}: no sentences: is this the right file?")
            self.counts["files"] += 1
            sentences += found
        return sentences

    def read_hub(self, name: str, config: str | None, split: str) -> list[TaggedSentence]:
        """Return the sentences of a hub set with a column of lists of words and one of lists of labels.

        Sentences with a word whose class is unknown, -1 or null, are dropped and counted.

        Raises:
            UserError: If it cannot be reached, has no such columns, a row is wrong, or no row has labels.
        """
        source = hub_source(name, config, split)
        rows = load_rows(name, config, split)
        columns = rows.column_names
        words_key = _key(dict.fromkeys(columns), WORDS_NAMES, None, source)
        labels_key = _key(dict.fromkeys(columns), LABELS_NAMES, self.label_column, source)
        names = class_names(rows.features[labels_key])
        self.counts["files"] += 1
        sentences = []
        for index, row in enumerate(rows):
            where, labels = f"{source}: row {index}", row[labels_key]
            if names is not None and isinstance(labels, list):
                labels = [class_name(number, names, where) for number in labels]
                if None in labels:
                    self.counts["dropped_without_label"] += 1
                    continue
            sentences.append(self._sentence(where, f"{split}:{index}", row[words_key], labels))
        check_any_label(len(sentences), len(rows), source)
        return sentences

    def _read_file(self, path: Path, name: str) -> Iterator[TaggedSentence]:
        """Yield a file's sentences, which ``name`` and their first line identify."""
        if path.suffix == ".jsonl":
            for number, row in json_rows(path):
                where = f"{path}: line {number}"
                words = row[_key(row, WORDS_NAMES, None, where)]
                labels = row[_key(row, LABELS_NAMES, self.label_column, where)] if self.require_labels else None
                yield self._sentence(where, f"{name}:{number}", words, labels)
            return
        parse = self._conllu_rows if path.suffix == ".conllu" else self._column_rows
        for rows in parse(path):
            for number, word, label in rows:
                self._check(f"{path}: line {number}", word, label)
            labels = tuple(str(label) for _, _, label in rows) if self.require_labels else None
            yield self._counted(TaggedSentence(f"{name}:{rows[0][0]}", tuple(word for _, word, _ in rows), labels))

    def _column_rows(self, path: Path) -> Iterator[_Rows]:
        """Yield the rows of each sentence of a file in columns."""
        sentence: _Rows = []
        width = 0
        for number, line in enumerate([*read_lines(path), ""], start=1):
            # Not split(): it takes no-break spaces and other characters of words for separators too.
            cells = _SEPARATOR.split(line.strip(" \t"))
            if cells == [""]:
                if sentence:
                    yield sentence
                sentence = []
            elif cells[0] == "-DOCSTART-":
                self.counts["document_marks"] += 1
            else:
                width = width or len(cells)
                if len(cells) != width:
                    raise UserError(
                        f"{path}: line {number}: {len(cells)} columns where the lines before have {width}: a word must "
                        "have no spaces, and every column must be filled"
                    )
                sentence.append((number, cells[0], self._cell(cells, f"{path}: line {number}")))

    def _cell(self, cells: Sequence[str], where: str) -> str | None:
        """Return the label's cell of a line in columns."""
        if not self.require_labels:
            return None
        column = -1 if self.label_column is None else self.label_column
        if not isinstance(column, int):
            raise UserError(f"{where}: label_column {column!r} must be a number for files in columns")
        if not -len(cells) <= column < len(cells) or column % len(cells) == 0:
            raise UserError(
                f"{where}: {len(cells)} columns, of which number {column} cannot be the label: the word is the first; "
                "set label_column or add the column"
            )
        return cells[column]

    def _conllu_rows(self, path: Path) -> Iterator[_Rows]:
        """Yield the rows of each sentence of a CoNLL-U file."""
        name = "UPOS" if self.label_column is None else self.label_column
        if name not in CONLLU_COLUMNS:
            raise UserError(f"{path}: label_column {name!r} is no column of CoNLL-U: use {', '.join(CONLLU_COLUMNS)}")
        column = CONLLU_COLUMNS.index(str(name))
        sentence: _Rows = []
        has_comments = False
        for number, line in enumerate([*read_lines(path), ""], start=1):
            where = f"{path}: line {number}"
            if not line.strip(" \t"):
                if sentence:
                    yield sentence
                elif has_comments:
                    raise UserError(f"{where}: empty sentence: comments without words; remove them or add the words")
                sentence, has_comments = [], False
                continue
            if line.startswith("#"):
                has_comments = True
                continue
            cells = line.split("\t")
            if len(cells) != len(CONLLU_COLUMNS):
                raise UserError(f"{where}: {len(cells)} columns parted by tabs, CoNLL-U has {len(CONLLU_COLUMNS)}")
            if _RANGE_OR_EMPTY.fullmatch(cells[0]):
                self.counts["contractions_and_empty_nodes"] += 1
            elif not _WORD_ID.fullmatch(cells[0]):
                raise UserError(f"{where}: {shown(cells[0])} is no word's number: is this CoNLL-U?")
            elif cells[0] != str(len(sentence) + 1):
                raise UserError(
                    f"{where}: word number {shown(cells[0])} where {len(sentence) + 1} is next: an empty line parts "
                    "sentences, and the words of each are numbered from 1"
                )
            else:
                sentence.append((number, cells[1], cells[column] if self.require_labels else None))

    def _sentence(self, where: str, sentence_id: str, words: Any, labels: Any) -> TaggedSentence:
        """Return the sentence of a row that holds lists."""
        if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
            raise UserError(f"{where}: the words must be a list of texts, got {shown(words)}")
        if not words:
            raise UserError(f"{where}: empty sentence: give it words or remove it")
        if not self.require_labels:
            labels = None
        elif not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
            raise UserError(f"{where}: the labels must be a list of texts, got {shown(labels)}")
        elif len(labels) != len(words):
            raise UserError(f"{where}: {len(words)} words but {len(labels)} labels: give each word one")
        for word, label in zip(words, labels or [None] * len(words), strict=True):
            self._check(where, word, label)
        return self._counted(TaggedSentence(sentence_id, tuple(words), None if labels is None else tuple(labels)))

    def _check(self, where: str, word: str, label: str | None) -> None:
        if not word.strip():
            raise UserError(f"{where}: empty word: give it text or remove the line")
        check_text(word, f"the word {shown(word)}", where)
        if label is not None and label not in self.labels:
            raise unknown_label(where, label, self.labels)

    def _counted(self, sentence: TaggedSentence) -> TaggedSentence:
        self.counts["sentences"] += 1
        self.counts["words"] += len(sentence.words)
        return sentence


def _key(row: Mapping[str, Any], names: Iterable[str], wanted: int | str | None, where: str) -> str:
    """Return the key that is wanted, or the first of some names that a row has."""
    candidates = list(names) if wanted is None else [str(wanted)]
    for name in candidates:
        if name in row:
            return name
    raise UserError(f"{where}: no {' or '.join(map(repr, candidates))}; it has {', '.join(map(repr, row))}")
