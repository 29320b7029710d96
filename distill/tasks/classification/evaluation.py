"""One pass of one model over labelled texts: classes in, scores out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torchmetrics.classification import MulticlassAccuracy, MulticlassF1Score

from distill.distributed.processes import gather
from distill.tasks.base import Evaluation, EvaluationResult
from distill.tasks.classification.examples import LabelledText
from distill.types import Batch, UserError


class ClassificationEvaluation(Evaluation):
    """Collects the best class of every text, then scores all of them.

    With several processes classes are gathered, so every process returns the same totals.

    Args:
        examples: All examples to be scored, the same on every process.
        labels: The labels, in the order of the head's classes.
        partial: Whether examples may be left out, as in trial runs; they are then not scored.
    """

    def __init__(self, examples: Sequence[LabelledText], labels: Sequence[str], partial: bool = False) -> None:
        self.examples = {example.text_id: example for example in examples}
        if len(self.examples) < len(examples):
            raise UserError("two examples were read from the same place: name every file once")
        self.labels = tuple(labels)
        self.partial = partial
        self._found: dict[str, str] = {}

    def update(self, logits: Tensor, batch: Batch) -> None:
        """Add the head's scores of one batch, (B, C)."""
        example: LabelledText
        for example, index in zip(batch.windows, logits.argmax(-1).tolist(), strict=True):
            self._found[example.text_id] = self.labels[index]

    def compute(self) -> EvaluationResult:
        """Return the scores over the texts of every process; collective.

        - ``accuracy``: per cent of the texts whose class is right; also each text's own outcome, 100 or 0.
        - ``macro_f1``: mean over classes of ``2 TP / (2 TP + FP + FN)``, in per cent, over the classes that occur in
          references or predictions (torchmetrics' ``MulticlassF1Score``).
        - ``num_examples``: how many there were.

        Raises:
            UserError: If a text was not scored although the pass is not partial.
        """
        found = {text_id: label for part in gather(self._found) for text_id, label in part.items()}
        missing = [text_id for text_id in self.examples if text_id not in found]
        if missing and not self.partial:
            raise UserError(f"text {missing[0]} was not scored ({len(missing)} did not come): score the whole set")
        predictions = {text_id: found[text_id] for text_id in self.examples if text_id in found}
        references = {key: label for key in predictions if (label := self.examples[key].label) is not None}
        outcomes = {key: {"accuracy": 100.0 * (predictions[key] == label)} for key, label in references.items()}
        groups = {label: [key for key, own in references.items() if own == label] for label in self.labels}
        return EvaluationResult(
            self._scores([predictions[key] for key in references], list(references.values())),
            predictions,
            outcomes,
            {"label": {label: keys for label, keys in groups.items() if keys}},
        )

    def _scores(self, predictions: Sequence[str], references: Sequence[str]) -> Mapping[str, float]:
        ids = {label: index for index, label in enumerate(self.labels)}
        found, right = (torch.tensor([ids[label] for label in labels]) for labels in (predictions, references))
        # Every process holds every text by now, so sums must not be added up again over processes.
        settings = {"num_classes": len(self.labels), "sync_on_compute": False}
        accuracy, f1 = MulticlassAccuracy(average="micro", **settings), MulticlassF1Score(average="macro", **settings)
        if references:
            accuracy.update(found, right)
            f1.update(found, right)
        return {
            "accuracy": 100 * float(accuracy.compute()) if references else 0.0,
            "macro_f1": 100 * float(f1.compute()) if references else 0.0,
            "num_examples": float(len(references)),
        }
