"""How questions are read and answers chosen, under our names and under those of the removed transformers pipeline."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from transformers import PreTrainedTokenizerBase

from distill.tasks.question_answering.windows import check_lengths
from distill.types import UserError

#: What the pipeline called a setting of ours.
PIPELINE_NAMES = {
    "max_seq_len": "max_length",
    "max_question_len": "max_question_length",
    "max_answer_len": "max_answer_length",
    "topk": "top_k",
}

#: Options of the pipeline that change nothing in an answer, and what to do instead.
_POINTLESS = {
    "padding": "windows are padded to the longest of their batch",
    "num_workers": "windows are cut in the calling thread",
    "framework": "models are PyTorch or ONNX: choose with backend",
}


@dataclass(frozen=True)
class AnswerSettings:
    """Everything that an answer depends on beside the model; the defaults are those of training and evaluation.

    Attributes:
        max_length: Tokens of a window at most, question and special tokens included.
        doc_stride: Tokens that consecutive windows of a context share.
        max_question_length: Tokens of a question at most; the rest of a longer one is cut off, with a warning.
        max_answer_length: Longest answer in tokens.
        n_best: How many candidates are kept for each question; probabilities are shared out among them.
        top_k: Answers returned for each question.
        no_answer_threshold: How much more than the best span "no answer" must score to be given, in logits; None if
            every question has an answer in its context.
        align_to_words: Whether answers that begin or end inside a word are grown to the whole word.
        temperature: Divides the scores before they become probabilities; see :mod:`distill.answering.calibration`.
        tokens_per_batch: Tokens of a batch at most, padding included; None leaves it to the backend.
        batch_size: Windows of a batch at most; None leaves it to the tokens.
    """

    max_length: int = 384
    doc_stride: int = 128
    max_question_length: int = 64
    max_answer_length: int = 30
    n_best: int = 20
    top_k: int = 1
    no_answer_threshold: float | None = 0.0
    align_to_words: bool = False
    temperature: float = 1.0
    tokens_per_batch: int | None = None
    batch_size: int | None = None

    def updated(self, options: Mapping[str, Any]) -> AnswerSettings:
        """Return the settings with some replaced, under our names or the pipeline's.

        ``handle_impossible_answer`` stands for a threshold: False for None, True for the present one or else 0. Where
        ``max_length`` comes alone, overlap and question keep to a third and a sixth of it, as they do in the defaults.

        Raises:
            UserError: If there is no such setting.
        """
        given = _renamed(options)
        if "handle_impossible_answer" in given:
            may_be_empty = given.pop("handle_impossible_answer")
            threshold = 0.0 if self.no_answer_threshold is None else self.no_answer_threshold
            given.setdefault("no_answer_threshold", threshold if may_be_empty else None)
        known = [field.name for field in fields(self)]
        for name in given:
            if name in _POINTLESS:
                raise UserError(f"{name}: leave it out; {_POINTLESS[name]}")
            if name not in known:
                raise UserError(f"{name!r} is no setting of a question: choose among {', '.join(known)}")
        if "max_length" in given:
            length = _count("max_length", given["max_length"])
            given.setdefault("doc_stride", min(self.doc_stride, length // 3))
            given.setdefault("max_question_length", min(self.max_question_length, length // 6))
        return replace(self, **given) if given else self

    def check(self, tokenizer: PreTrainedTokenizerBase, num_positions: int) -> None:
        """Check ranges, that windows have room for question and context, and that the model has room for windows.

        Args:
            tokenizer: Cuts the text.
            num_positions: Tokens that the model can take.

        Raises:
            UserError: If a value is out of range.
        """
        for name in ("max_length", "max_answer_length", "n_best", "top_k"):
            _count(name, getattr(self, name))
        for name in ("tokens_per_batch", "batch_size"):
            if getattr(self, name) is not None:
                _count(name, getattr(self, name))
        if self.top_k > self.n_best:
            raise UserError(f"top_k {self.top_k} is more than n_best {self.n_best}: raise n_best with it")
        threshold = self.no_answer_threshold
        if threshold is not None and not math.isfinite(threshold):
            raise UserError(f"no_answer_threshold must be a finite number or None, got {threshold}")
        if not 0 < self.temperature < math.inf:
            raise UserError(f"temperature must be more than 0, got {self.temperature}")
        if self.max_length > num_positions:
            raise UserError(f"max_length {self.max_length} is more than the model's {num_positions} positions")
        check_lengths(tokenizer, self.max_length, self.doc_stride, self.max_question_length)


def _renamed(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return options under our names; None means "as it is" but where it is a value of its own."""
    return {
        PIPELINE_NAMES.get(name, name): value
        for name, value in options.items()
        if value is not None or name in ("no_answer_threshold", "batch_size")
    }


def _count(name: str, value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise UserError(f"{name} must be a whole number of at least 1, got {value!r}")
    return value
