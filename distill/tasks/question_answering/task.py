"""Extractive question answering as a task."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import AutoModelForQuestionAnswering, PreTrainedModel

from distill.metrics.normalize import LANGUAGES
from distill.metrics.squad import question_scores
from distill.tasks.base import MASKED_LOGIT, Score, Shown, Tally, Task
from distill.tasks.question_answering.evaluation import QuestionAnsweringEvaluation
from distill.types import Batch, Example, UserError


class QuestionAnswering(Task):
    """Questions whose answers are spans of a context: the head scores every token as the first and as the last one.

    Args:
        language: Language of the answers, whose articles the scores ignore.
        n_best: How many candidate spans are kept per window and per question.
        max_answer_length: Longest answer in tokens.
        null_threshold: How much better than the best span "no answer" must score to be chosen, in logits; None if every
            question has an answer.

    Raises:
        UserError: If a value is out of range.
    """

    name = "question_answering"
    main_score = Score("f1", "F1")
    headline = (Score("exact_match", "EM"), main_score)

    def __init__(
        self,
        language: str = "es",
        n_best: int = 20,
        max_answer_length: int = 30,
        null_threshold: float | None = 0.0,
    ) -> None:
        if language not in LANGUAGES:
            raise UserError(f"language {language!r} is not known: choose one of {', '.join(LANGUAGES)}")
        if n_best < 1:
            raise UserError(f"n_best must be at least 1, got {n_best}")
        if max_answer_length < 1:
            raise UserError(f"max_answer_length must be at least 1, got {max_answer_length}")
        if null_threshold is not None and not math.isfinite(null_threshold):
            raise UserError(f"null_threshold must be a finite number or null, got {null_threshold}")
        self.language = language
        self.n_best = n_best
        self.max_answer_length = max_answer_length
        self.null_threshold = null_threshold

    def load_model(self, folder: str, **kwargs: Any) -> PreTrainedModel:
        """Load a pretrained model with a question-answering head, in float32 unless ``dtype`` says otherwise.

        The library's own default would keep the dtype that the weights are stored in, so half precision on any device.
        """
        model: PreTrainedModel = AutoModelForQuestionAnswering.from_pretrained(
            folder, **{"dtype": torch.float32, **kwargs}
        )
        return model

    def build_model(self, config: Any) -> PreTrainedModel:
        """Build a model with a question-answering head and random weights, in float32."""
        model: PreTrainedModel = AutoModelForQuestionAnswering.from_config(config, dtype=torch.float32)
        return model

    def logits(self, output: Any) -> Tensor:
        """Return the scores of every token as first and last one of the answer, (B, S, 2)."""
        return torch.stack((output.start_logits, output.end_logits), dim=-1)

    def rows(self, logits: Tensor, batch: Batch, mask_padding: bool = True) -> Tensor:
        """Lay the scores out as (2B, S) rows, float32 or float64: for each window its start row, then its end row.

        With ``mask_padding`` the positions of padding hold ``MASKED_LOGIT``.
        """
        wide = logits.to(torch.promote_types(logits.dtype, torch.float32))  # half precision has no room for the mask
        rows = wide.transpose(1, 2).reshape(-1, logits.shape[1])
        if not mask_padding:
            return rows
        is_padding = batch.attention_mask.eq(0).repeat_interleave(2, dim=0)
        return rows.masked_fill(is_padding, MASKED_LOGIT)

    def targets(self, batch: Batch) -> Tensor:
        """Return the right position of every row, (2B,) int64, in the order of :meth:`rows`."""
        return torch.stack((batch.labels["start_positions"], batch.labels["end_positions"]), dim=1).reshape(-1)

    def show(self, example: Example) -> Shown:
        """Return the question with its context, around the first reference."""
        references = tuple(dict.fromkeys(answer.text for answer in example.answers))
        start_char = example.answers[0].start_char if example.answers else None
        return Shown(example.question_id, example.question, example.context, references, start_char)

    def guess(self, batch: Batch, target: int, num_classes: int) -> Tensor:
        """Return scores by which no question has an answer, whatever position is the most frequent one: (B, S, 2)."""
        logits = torch.zeros(*batch.attention_mask.shape, 2)
        logits[:, 0] = 1.0
        return logits

    def tally(self, prediction: str, example: Example) -> dict[str, Tally]:
        """Return F1 and exact match of an answer."""
        scores = question_scores(prediction, [answer.text for answer in example.answers], self.language)
        return {name: Tally(scores[name] / 100) for name in ("f1", "exact_match")}

    def advise(self, examples: Sequence[Example]) -> str | None:
        """Say where the threshold for "no answer" and the questions contradict each other."""
        num_impossible = sum(example.is_impossible for example in examples)
        if self.null_threshold is None and num_impossible:
            return (
                f"{num_impossible:,} of {len(examples):,} validation questions have no answer, but the model has to "
                "give one: set task.null_threshold to 0"
            )
        if self.null_threshold is not None and examples and not num_impossible:
            return (
                "every validation question has an answer, but the model may say that there is none: set "
                "task.null_threshold to null"
            )
        return None

    def evaluation(self, examples: Sequence[Example], partial: bool = False) -> QuestionAnsweringEvaluation:
        """Start an evaluation over the questions."""
        return QuestionAnsweringEvaluation(
            examples, self.language, self.n_best, self.max_answer_length, self.null_threshold, partial
        )
