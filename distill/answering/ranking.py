"""From the scores of a question's passages to its answers, with their probabilities."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, replace

from distill.answering.passages import Passage
from distill.tasks.question_answering.answers import ChosenAnswer, prefers_no_answer


@dataclass(frozen=True, slots=True)
class RankedAnswer:
    """One possible answer: ``text == contexts[context_index][start_char:end_char]``; empty for "no answer".

    Attributes:
        text: The answer.
        logit: Start logit + end logit.
        probability: Its share of the softmax over all candidates of the question.
        start_char: Its first character.
        end_char: One past its last character.
        context_index: Which of the question's contexts it is from.
    """

    text: str
    logit: float
    probability: float
    start_char: int
    end_char: int
    context_index: int = 0


def rank(
    found: Sequence[tuple[Passage, ChosenAnswer]], no_answer_threshold: float | None, n_best: int, temperature: float
) -> list[RankedAnswer]:
    """Return the candidates of one question, the answer first.

    The candidates are the ``n_best`` spans over all passages by logit, and, unless the threshold is None, "no answer",
    whose logit is the lowest over all windows: one window that holds an answer is enough. It stands before the first
    span whose logit it exceeds by more than the threshold, so with one passage the first candidate is the answer that
    evaluation gives. Their probabilities are ``softmax(logits / temperature)`` over just these candidates; they sum to
    1, and are not calibrated unless the temperature was fitted.

    Args:
        found: Each passage with what was found in it, in the order of the text.
        no_answer_threshold: How much more than the best span "no answer" must score; None if it is no candidate.
        n_best: Spans to keep.
        temperature: Divides the logits.

    Returns:
        At least one candidate: where no span can be chosen, "no answer" alone with probability 1.
    """
    logits: dict[tuple[int, int, int], float] = {}
    for passage, chosen in found:
        for candidate in chosen.n_best:
            start, end = passage.start_char + candidate.start_char, passage.start_char + candidate.end_char
            place = (passage.context_index, start, end)
            # Passages overlap: a span found twice counts once, with its best score.
            logits[place] = max(candidate.score, logits.get(place, -math.inf))
    spans = sorted(logits, key=lambda place: (-logits[place], place))[:n_best]
    ranked = [(logits[span], span) for span in spans]
    if no_answer_threshold is not None or not ranked:
        null_logit = min(chosen.null_score for _, chosen in found)
        num_better = sum(not prefers_no_answer(null_logit, logit, no_answer_threshold) for logit, _ in ranked)
        ranked.insert(num_better, (null_logit, (0, 0, 0)))
    shares = softmax([logit for logit, _ in ranked], temperature)
    contexts = found[0][0].item.contexts
    return [
        RankedAnswer(contexts[index][start:end], logit, share, start, end, index)
        for (logit, (index, start, end)), share in zip(ranked, shares, strict=True)
    ]


def softmax(logits: Sequence[float], temperature: float = 1.0) -> list[float]:
    """Return ``exp(logit / temperature)``, divided by their sum; no logits give no probabilities."""
    highest = max(logits, default=0.0)
    weights = [math.exp((logit - highest) / temperature) for logit in logits]
    total = math.fsum(weights)
    return [weight / total for weight in weights]


def align_to_words(answer: RankedAnswer, context: str) -> RankedAnswer:
    """Return the answer grown to whole words where it begins or ends inside one (a run of letters, digits and marks).

    Example:
        >>> align_to_words(RankedAnswer("diz", 1.0, 1.0, 11, 14), "nació en Cádiz.").text
        'Cádiz'
    """
    start, end = answer.start_char, answer.end_char
    if start == end:
        return answer
    while start > 0 and _is_word(context[start - 1]) and _is_word(context[start]):
        start -= 1
    while end < len(context) and _is_word(context[end]) and _is_word(context[end - 1]):
        end += 1
    return replace(answer, text=context[start:end], start_char=start, end_char=end)


def _is_word(character: str) -> bool:
    return character.isalnum() or unicodedata.category(character).startswith("M")
