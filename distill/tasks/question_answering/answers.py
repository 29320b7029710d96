"""From the head's scores to answers: exact n-best spans of each window, then the best over windows of each question."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from distill.tasks.question_answering.windows import NULL_POSITION
from distill.types import Batch, Example, UserError, Window

#: A span of the original context: its score (start logit + end logit), first character, and the one behind its last.
#: A plain tuple, since there are twenty a window: the garbage collector would look through named ones again and again.
ScoredSpan = tuple[float, int, int]


class WindowAnswers(NamedTuple):
    """What one window says; its offsets are no longer needed.

    Attributes:
        example: The example that the window was cut from.
        spans: The best spans, best first; empty if no token of the context can be chosen.
        null_score: Start logit + end logit at :data:`NULL_POSITION`, counted from the first real token.
    """

    example: Example
    spans: tuple[ScoredSpan, ...]
    null_score: float


class Candidate(NamedTuple):
    """One of the n best answers: ``text == context[start_char:end_char]``."""

    text: str
    score: float
    start_char: int
    end_char: int


@dataclass(frozen=True, slots=True)
class ChosenAnswer:
    """The answer to one question.

    Attributes:
        text: A substring of the original context, or "" for no answer.
        score: Score of the best span, minus infinity if there is none.
        null_score: Score of "no answer": the lowest over the windows, since one window that holds an answer is enough.
        n_best: The best spans over all windows, best first, whether or not one of them was chosen.
    """

    text: str
    score: float
    null_score: float
    n_best: tuple[Candidate, ...]


@torch.no_grad()
def best_spans(logits: Tensor, batch: Batch, n_best: int = 20, max_answer_length: int = 30) -> list[WindowAnswers]:
    """Return the exact n best spans of every window, in float32.

    ``score(start, end) = logits[start, 0] + logits[end, 1]`` over all ``start <= end < start + max_answer_length``
    (tokens) whose both ends are context tokens with something visible; question and special tokens cannot be chosen.

    Args:
        logits: (B, S, 2), start and end scores.
        batch: The batch that they were computed on, with its windows.
        n_best: How many spans to keep at most.
        max_answer_length: Longest answer in tokens.

    Raises:
        ValueError: If the batch does not hold its B windows, or its windows do not fit in S tokens.
        UserError: If a score of a real token is not a finite number.
    """
    windows, length = batch.windows, logits.shape[1]
    if len(windows) != len(logits):
        raise ValueError(f"logits of {len(logits)} windows need as many windows in the batch, got {len(windows)}")
    offsets = _padded_offsets(windows, length)
    scores = logits.float()
    _check_finite(scores, batch)

    can_be_chosen = (offsets[..., 1] > offsets[..., 0]).to(scores.device)
    start, end = scores.masked_fill(~can_be_chosen.unsqueeze(-1), -math.inf).unbind(-1)
    width = min(max_answer_length, length)
    ends = torch.nn.functional.pad(end, (0, width - 1), value=-math.inf).unfold(1, width, 1)
    band = start.unsqueeze(-1) + ends  # (B, S, width): every start with the ends that it may have
    top = band.flatten(1).topk(min(n_best, length * width), dim=1)

    start_tokens = top.indices.cpu() // width
    end_tokens = start_tokens + top.indices.cpu() % width
    start_chars = offsets[..., 0].gather(1, start_tokens).tolist()
    end_chars = offsets[..., 1].gather(1, end_tokens.clamp_max(length - 1)).tolist()
    # The first real token: padding may stand before it.
    null_tokens = batch.attention_mask.to(scores.device).argmax(dim=1) + NULL_POSITION
    null_scores = scores[torch.arange(len(scores), device=scores.device), null_tokens].sum(-1).tolist()
    # Spans that cannot be chosen come last, with a score of minus infinity.
    counts = (top.values > -math.inf).sum(1).tolist()
    return [
        WindowAnswers(window.example, tuple(zip(*(column[:count] for column in found), strict=True)), null_score)
        for window, null_score, count, *found in zip(
            windows, null_scores, counts, top.values.tolist(), start_chars, end_chars, strict=True
        )
    ]


def choose_answers(
    window_answers: Iterable[WindowAnswers], null_threshold: float | None, n_best: int = 20
) -> dict[str, ChosenAnswer]:
    """Return the answer to every question by its identifier, in order of first appearance.

    The best span over all windows, or "" if ``min over windows null_score - best score > null_threshold``. With a
    threshold of None an answer is never empty while any span can be chosen.

    Args:
        window_answers: What each window says, in any order.
        null_threshold: How much better "no answer" must score; None for data in which every question has an answer.
        n_best: How many candidates to keep.
    """
    by_question: dict[str, list[WindowAnswers]] = {}
    for answers in window_answers:
        by_question.setdefault(answers.example.question_id, []).append(answers)
    return {question_id: _choose(answers, null_threshold, n_best) for question_id, answers in by_question.items()}


def prefers_no_answer(null_score: float, score: float, null_threshold: float | None) -> bool:
    """Whether "no answer" scores more than a span by over the threshold; never with a threshold of None."""
    return null_threshold is not None and null_score - score > null_threshold


def _choose(windows: Sequence[WindowAnswers], null_threshold: float | None, n_best: int) -> ChosenAnswer:
    context = windows[0].example.context
    # Overlapping windows find the same span: it counts once, with its best score.
    scores: dict[tuple[int, int], float] = {}
    for window in windows:
        for score, start, end in _leading(window.spans, n_best):
            if score > scores.get((start, end), -math.inf):
                scores[start, end] = score
    # Equal scores go to the first and then the shortest span, whatever the order of the windows.
    ranked = sorted([(-score, start, end) for (start, end), score in scores.items()])[:n_best]
    candidates = tuple(Candidate(context[start:end], -negative, start, end) for negative, start, end in ranked)
    null_score = min(window.null_score for window in windows)
    score = candidates[0].score if candidates else -math.inf
    is_null = not candidates or prefers_no_answer(null_score, score, null_threshold)
    return ChosenAnswer("" if is_null else candidates[0].text, score, null_score, candidates)


def _leading(spans: tuple[ScoredSpan, ...], num: int) -> tuple[ScoredSpan, ...]:
    """Return the first ``num`` different spans of a window, best first, and those that score as much as the last."""
    seen: set[tuple[int, int]] = set()  # tokens that are parts of a letter have the same characters
    for index, (score, start, end) in enumerate(spans):
        if len(seen) >= num and score < spans[index - 1][0]:
            return spans[:index]
        seen.add((start, end))
    return spans


def _padded_offsets(windows: Sequence[Window], length: int) -> Tensor:
    """Return the original characters of every token, (B, S, 2) int64 on the CPU, (0, 0) outside the context."""
    offsets = np.zeros((len(windows), length, 2), dtype=np.int64)
    for row, window in enumerate(windows):
        start, end = window.context_token
        if end > length:
            raise ValueError(f"window {window.window_id} has context up to token {end} but there are {length} logits")
        if end > start:
            offsets[row, start:end] = window.offsets
    return torch.from_numpy(offsets)


def _check_finite(scores: Tensor, batch: Batch) -> None:
    is_real = batch.attention_mask.bool().to(scores.device)
    is_broken = ~scores.isfinite().all(-1) & is_real
    if is_broken.any():
        window = batch.windows[int(is_broken.any(1).nonzero()[0])]
        raise UserError(
            f"question {window.example.question_id!r}: the model's scores are not finite numbers: it has diverged, "
            "lower the learning rate or use a wider dtype"
        )
