"""Token classification as a task."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import one_hot
from transformers import AutoModelForTokenClassification, PreTrainedTokenizerBase

from distill.metrics.spans import OUTSIDE, spans, split_tag
from distill.tasks.base import Score, Shown, Tally
from distill.tasks.labelled import IGNORED, LabelledTask
from distill.tasks.tagging.evaluation import TaggingEvaluation
from distill.tasks.tagging.examples import SentenceWindow, TaggedSentence
from distill.tasks.tagging.reading import SentenceReader
from distill.tasks.tagging.windows import build_windows
from distill.types import Batch, UserError

#: The labels of CoNLL-2002, with the library's usual order: outside, then begin and inside of each type.
CONLL_LABELS = ("O", "B-PER", "I-PER", "B-ORG", "I-ORG", "B-LOC", "I-LOC", "B-MISC", "I-MISC")


class TokenClassification(LabelledTask):
    """A label for each word: named entities, parts of speech. The head scores every token; first sub-words count.

    With ``O``, ``B-X`` and ``I-X`` as labels (BIO or IOB1) the main score is the F1 of spans as conlleval counts it;
    with any other labels it is the accuracy over words.

    Args:
        labels: The labels, in the order of the head's classes.
        label_column: Where the labels stand in files and hub sets; see ``SentenceReader``.

    Raises:
        UserError: If labels repeat, or are only in part of the form of BIO.
    """

    name = "token_classification"
    auto_class = AutoModelForTokenClassification
    architecture = "ForTokenClassification"

    def __init__(self, labels: Sequence[str] = CONLL_LABELS, label_column: int | str | None = None) -> None:
        super().__init__(labels)
        self.label_column = label_column
        #: The types of spans, in the order of the labels; None where labels are no spans.
        self.kinds = _kinds(self.labels)
        accuracy = Score("accuracy", "accuracy, words")
        self.main_score = accuracy if self.kinds is None else Score("f1", "span F1")
        of_spans = (self.main_score, Score("precision", "precision, spans"), Score("recall", "recall, spans"), accuracy)
        whole = Score("exact_match", "whole sentences")
        self.headline = (accuracy, whole) if self.kinds is None else (*of_spans, whole)

    def read(
        self, files: Sequence[str | Path], require_labels: bool = True
    ) -> tuple[list[TaggedSentence], dict[str, int]]:
        """Return the sentences of files in columns, CoNLL-U or JSON lines."""
        reader = SentenceReader(self.labels, self.label_column, require_labels)
        return reader.read(files), dict(reader.counts)

    def read_hub(self, name: str, config: str | None, split: str) -> tuple[list[TaggedSentence], dict[str, int]]:
        """Return the sentences of a hub set."""
        reader = SentenceReader(self.labels, self.label_column)
        return reader.read_hub(name, config, split), dict(reader.counts)

    def embedded(self, split: str) -> Path:
        """Return the package's named entities, in CoNLL columns."""
        return Path(str(resources.files("distill.assets") / "ner_es" / f"{split}.conll"))

    def columns(
        self,
        examples: Sequence[TaggedSentence],
        tokenizer: PreTrainedTokenizerBase,
        max_length: int,
        first_index: int = 0,
    ) -> dict[str, list[Any]]:
        """Cut sentences into windows; see :func:`~distill.tasks.tagging.windows.build_windows`."""
        return build_windows(examples, tokenizer, self.label_ids, max_length, first_index)

    def batch_labels(
        self, rows: Mapping[str, Sequence[Any]], pad: Callable[[Sequence[Any], int], Tensor]
    ) -> dict[str, Tensor]:
        """Return ``label_ids``, (B, S): the class at the first sub-word of each word, ``IGNORED`` elsewhere."""
        return {"label_ids": pad(rows["label_ids"], IGNORED)}

    def windows(self, rows: Mapping[str, Sequence[Any]], examples: Sequence[TaggedSentence]) -> list[SentenceWindow]:
        """Return the sentence of each row, and which of its words are labelled there."""
        return [
            SentenceWindow(sentence, tuple(int(word) for word in words))
            for sentence, words in zip(examples, rows["word_ids"], strict=True)
        ]

    def logits(self, output: Any) -> Tensor:
        """Return the scores of every token for every label, (B, S, C)."""
        return output.logits

    def rows(self, logits: Tensor, batch: Batch, mask_padding: bool = True) -> Tensor:
        """Return one row of classes for each of the N labelled words, (N, C); padding is never labelled."""
        return logits[batch.labels["label_ids"].ne(IGNORED)]

    def targets(self, batch: Batch) -> Tensor:
        """Return the class of each labelled word, (N,) int64."""
        labels = batch.labels["label_ids"]
        return labels[labels.ne(IGNORED)]

    def guess(self, batch: Batch, target: int, num_classes: int) -> Tensor:
        """Return scores by which every token has one label, (B, S, C)."""
        return one_hot(torch.full(batch.attention_mask.shape, target), num_classes).float()

    def show(self, example: TaggedSentence) -> Shown:
        """Return the sentence and its labels."""
        references = () if example.labels is None else (" ".join(example.labels),)
        return Shown(example.sentence_id, example.sentence_id, " ".join(example.words), references)

    def tally(self, prediction: str, example: TaggedSentence) -> dict[str, Tally]:
        """Return what a sentence adds to the F1 of spans, 2 right / (predicted + reference), and to the accuracy."""
        found, expected = prediction.split(" "), example.labels or ()
        right = sum(mine == other for mine, other in zip(found, expected, strict=True))
        tallies = {"accuracy": Tally(right, len(expected))}
        if self.kinds is None:
            return tallies
        predicted, wanted = set(spans(found)), set(spans(expected))
        return {"f1": Tally(2 * len(predicted & wanted), len(predicted) + len(wanted)), **tallies}

    def evaluation(self, examples: Sequence[TaggedSentence], partial: bool = False) -> TaggingEvaluation:
        """Start an evaluation over the sentences."""
        return TaggingEvaluation(examples, self.labels, self.kinds, partial)


def _kinds(labels: Sequence[str]) -> tuple[str, ...] | None:
    """Return the types of spans that labels name, None where they are no spans.

    Raises:
        UserError: If only some are of the form of BIO, so that spans could not be counted.
    """
    if OUTSIDE not in labels or not any(label.startswith(("B-", "I-")) for label in labels):
        return None
    try:
        return tuple(dict.fromkeys(split_tag(label)[1] for label in labels if label != OUTSIDE))
    except ValueError as error:
        raise UserError(f"TokenClassification: {error}: convert the data, or leave {OUTSIDE} out of labels") from None
