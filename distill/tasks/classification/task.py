"""Classification of texts and pairs of texts as a task."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import one_hot
from transformers import AutoModelForSequenceClassification, PreTrainedTokenizerBase

from distill.tasks.base import Score, Shown, Tally
from distill.tasks.classification.evaluation import ClassificationEvaluation
from distill.tasks.classification.examples import LabelledText
from distill.tasks.classification.reading import TextColumns, TextReader
from distill.tasks.labelled import LabelledTask
from distill.types import Batch


class SequenceClassification(LabelledTask):
    """A label for each text or pair of texts: paraphrase, entailment, sentiment.

    The scores are accuracy and macro F1. Texts that are too long are cut at their ends, the longer of a pair first, and
    counted. They are put into Unicode's composed form (NFC) for the model alone.

    Args:
        labels: The labels, in the order of the head's classes.
        columns: Where texts and labels stand in files and hub sets.

    Raises:
        UserError: If labels repeat.
    """

    name = "sequence_classification"
    auto_class = AutoModelForSequenceClassification
    architecture = "ForSequenceClassification"
    main_score = Score("accuracy", "accuracy")
    headline = (main_score, Score("macro_f1", "macro F1"))
    scores_tokens = False

    def __init__(
        self,
        labels: Sequence[str] = ("0", "1"),
        columns: TextColumns = TextColumns(),  # noqa: B008 - frozen, so sharing it is safe
    ) -> None:
        super().__init__(labels)
        self.columns_of_files = columns

    def read(
        self, files: Sequence[str | Path], require_labels: bool = True
    ) -> tuple[list[LabelledText], dict[str, int]]:
        """Return the examples of CSV, TSV or JSON-lines files."""
        reader = TextReader(self.labels, self.columns_of_files, require_labels)
        return reader.read(files), dict(reader.counts)

    def read_hub(self, name: str, config: str | None, split: str) -> tuple[list[LabelledText], dict[str, int]]:
        """Return the examples of a hub set."""
        reader = TextReader(self.labels, self.columns_of_files)
        return reader.read_hub(name, config, split), dict(reader.counts)

    def embedded(self, split: str) -> Path:
        """Return the package's pairs of sentences."""
        return Path(str(resources.files("distill.assets") / "pairs_es" / f"{split}.tsv"))

    def columns(
        self,
        examples: Sequence[LabelledText],
        tokenizer: PreTrainedTokenizerBase,
        max_length: int,
        first_index: int = 0,
    ) -> dict[str, list[Any]]:
        """Return a window for each example; ``class_id`` is its label's class, 0 where it has none."""
        names = [name for name in ("input_ids", "token_type_ids") if name in tokenizer.model_input_names]
        columns: dict[str, list[Any]] = {name: [] for name in ("example_index", *names, "class_id", "is_cut")}
        for index, example in enumerate(examples):
            texts = [unicodedata.normalize("NFC", text) for text in (example.text, example.pair) if text is not None]
            encoded = tokenizer(*texts, truncation="longest_first", max_length=max_length, verbose=False)
            columns["example_index"].append(first_index + index)
            for name in names:
                columns[name].append(encoded[name])
            columns["class_id"].append(0 if example.label is None else self.label_ids[example.label])
            columns["is_cut"].append(bool(encoded.encodings[0].overflowing))
        return columns

    def batch_labels(
        self, rows: Mapping[str, Sequence[Any]], pad: Callable[[Sequence[Any], int], Tensor]
    ) -> dict[str, Tensor]:
        """Return ``class_ids``, (B,)."""
        return {"class_ids": torch.as_tensor(np.asarray(rows["class_id"], dtype=np.int64))}

    def windows(self, rows: Mapping[str, Sequence[Any]], examples: Sequence[LabelledText]) -> list[LabelledText]:
        """Return the examples themselves: each is one window."""
        return list(examples)

    def logits(self, output: Any) -> Tensor:
        """Return the scores of every label, (B, C)."""
        return output.logits

    def rows(self, logits: Tensor, batch: Batch, mask_padding: bool = True) -> Tensor:
        """Return one row of classes for each text, (B, C)."""
        return logits

    def targets(self, batch: Batch) -> Tensor:
        """Return the class of each text, (B,) int64."""
        return batch.labels["class_ids"]

    def num_head_tokens(self, batch: Batch) -> Tensor:
        """Return at how many tokens the head is needed, () int64: at one of each text."""
        return torch.full((), len(batch.window_ids), dtype=torch.int64, device=batch.attention_mask.device)

    def guess(self, batch: Batch, target: int, num_classes: int) -> Tensor:
        """Return scores by which every text has one label, (B, C)."""
        return one_hot(torch.full((len(batch.attention_mask),), target), num_classes).float()

    def show(self, example: LabelledText) -> Shown:
        """Return the texts, the second of a pair as what the first is asked about, and the label."""
        texts = (example.text_id, example.text) if example.pair is None else (example.text, example.pair)
        return Shown(example.text_id, *texts, () if example.label is None else (example.label,), start_char=0)

    def tally(self, prediction: str, example: LabelledText) -> dict[str, Tally]:
        """Return whether the label is right."""
        return {"accuracy": Tally(prediction == example.label)}

    def evaluation(self, examples: Sequence[LabelledText], partial: bool = False) -> ClassificationEvaluation:
        """Start an evaluation over the texts."""
        return ClassificationEvaluation(examples, self.labels, partial)
