"""What a task is, as far as data, losses and modules need to know: nothing outside a task knows what an answer is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from torch import Tensor
from transformers import PreTrainedModel

from distill.types import Batch

#: Fills logits that must not be chosen: finite, so that a softmax difference of two filled places is 0 and not NaN.
MASKED_LOGIT = -1e30


@dataclass(frozen=True)
class Score:
    """A figure by which models are compared.

    Attributes:
        name: Its key among the scores of an evaluation, and behind ``val/`` in the logs.
        label: What tables and messages call it.
        higher_is_better: Its direction.
    """

    name: str
    label: str
    higher_is_better: bool = True


@dataclass(frozen=True)
class EvaluationResult:
    """Scores and predictions of one model over one data set.

    Attributes:
        scores: Metric name to value; percentages run from 0 to 100. Always holds the task's main score.
        predictions: Item identifier to prediction; for question answering, question id to answer text.
        outcomes: Item identifier to the scores of that item alone, whose mean over all items is the score of that name.
        breakdowns: Name of a way to group the items, such as ``question word``, to label to item identifiers; labels
            in the order to be shown.
    """

    scores: Mapping[str, float]
    predictions: Mapping[str, str] = field(default_factory=dict)
    outcomes: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    breakdowns: Mapping[str, Mapping[str, Sequence[str]]] = field(default_factory=dict)


class Tally(NamedTuple):
    """What an item adds to a score ``100 * sum of parts / sum of wholes``; with wholes of 1 that is a mean."""

    part: float
    whole: float = 1.0


@dataclass(frozen=True)
class Shown:
    """An example as people read it, among the samples of a run.

    Attributes:
        item_id: Its identifier, as in the predictions.
        question: What is asked, or what to call it where nothing is.
        context: The text that it is asked of.
        references: The accepted predictions; none stands for the empty one.
        start_char: Where in the context to look; None where any place is as good.
    """

    item_id: str
    question: str
    context: str
    references: tuple[str, ...] = ()
    start_char: int | None = None


class Evaluation(ABC):
    """Accumulates one pass of one model over an evaluation set."""

    @abstractmethod
    def update(self, logits: Tensor, batch: Batch) -> None:
        """Add the head's output for one batch, which must hold what decoding needs, such as ``batch.windows``."""

    @abstractmethod
    def compute(self) -> EvaluationResult:
        """Return scores over everything added on every process; collective when several processes run."""


class Task(ABC):
    """A kind of prediction: its head, its rows of classes, its targets and its scores.

    Logit distillation and label losses are the same for every task once the head's output is laid out as rows of
    classes, so a task only says how to lay it out (:meth:`rows`) and which class is right (:meth:`targets`).
    """

    #: Short name used in logs and reports.
    name: str
    #: The score by which the best checkpoint is chosen; one of :attr:`headline`.
    main_score: Score
    #: The scores that tables and reports put first, in their order.
    headline: tuple[Score, ...]
    #: What the head's classes stand for, in their order; none where they have no names.
    labels: tuple[str, ...] = ()
    #: Whether the head scores every token of a window, (B, S, ...), or the window as a whole, (B, ...).
    scores_tokens: bool = True

    @abstractmethod
    def load_model(self, folder: str, **kwargs: Any) -> PreTrainedModel:
        """Load a pretrained model with this task's head."""

    @abstractmethod
    def build_model(self, config: Any) -> PreTrainedModel:
        """Build a model with this task's head and random weights."""

    def focus(self, model: PreTrainedModel, batch: Batch, logits: bool = True) -> AbstractContextManager[None]:
        """Return a context in which the model's head may leave out what neither losses nor scores read.

        For heads that cost as much as the encoder; here the whole head is computed, as transformers does.

        Args:
            model: The model that will be called once.
            batch: What it will be called on.
            logits: Whether the head's scores are needed at all.
        """
        return nullcontext()

    def num_head_tokens(self, batch: Batch) -> Tensor:
        """Return at how many tokens of a batch the head is needed, () int64: here at all real ones."""
        return batch.attention_mask.sum()

    @abstractmethod
    def logits(self, output: Any) -> Tensor:
        """Return the head's scores from a transformers model output."""

    @abstractmethod
    def rows(self, logits: Tensor, batch: Batch, mask_padding: bool = True) -> Tensor:
        """Lay the head's scores out as (N, C) rows of classes; places that cannot be chosen hold ``MASKED_LOGIT``."""

    @abstractmethod
    def targets(self, batch: Batch) -> Tensor:
        """Return the right class of every row, (N,) int64."""

    def show(self, example: Any) -> Shown:
        """Return how an example is shown beside its predictions; needed where evaluations have predictions."""
        raise NotImplementedError(f"{self.name} has no predictions to show")

    def guess(self, batch: Batch, target: int, num_classes: int) -> Tensor | None:
        """Return logits of always choosing one class, in the form of :meth:`logits`; None where that is no baseline.

        Args:
            batch: The batch to guess for.
            target: The class, as :meth:`targets` counts them.
            num_classes: Classes of the head.
        """
        return None

    def tally(self, prediction: str, example: Any) -> dict[str, Tally]:
        """Return what a prediction adds to scores that are ratios of sums over items; needed to compare predictions.

        Args:
            prediction: The item's among ``EvaluationResult.predictions``.
            example: The item, with its reference.
        """
        raise NotImplementedError(f"{self.name} has no scores that are ratios of sums over items")

    def advise(self, examples: Sequence[Any]) -> str | None:
        """Return what of the settings cannot be meant, given the validation examples; None where nothing is."""
        return None

    @abstractmethod
    def evaluation(self, examples: Sequence[Any], partial: bool = False) -> Evaluation:
        """Start an evaluation over ``examples``; with ``partial`` some of them may never come, as in trial runs."""
