"""Pools of passages through the model: windows of all questions, sorted by length, in batches of bounded size."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterator, Sequence
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerBase

from distill.answering.backends import Backend
from distill.answering.settings import AnswerSettings
from distill.data.windows import WindowPadder
from distill.tasks.question_answering.answers import ChosenAnswer, WindowAnswers, best_spans, choose_answers
from distill.tasks.question_answering.windows import build_windows, count_flagged
from distill.types import Example

log = logging.getLogger(__name__)

#: Characters of context that are cut into windows at once: what the tokenizer keeps beside its numbers takes many times
#: their room, and is gone before the next are cut.
CUT_CHARS = 2**16


def token_batches(
    widths: NDArray[np.int64], max_tokens: int, max_windows: int | None = None
) -> list[NDArray[np.int64]]:
    """Cut windows into batches of similar length whose padded size stays within ``max_tokens``, longest first.

    A batch holds at least one window, so a single window above the limit still is one.

    Args:
        widths: Tokens of each window, padding included.
        max_tokens: Windows times tokens of the longest, at most.
        max_windows: Windows at most.
    """
    order = np.argsort(-widths, kind="stable")
    batches = []
    start = 0
    while start < len(order):
        fitting = max(1, max_tokens // int(widths[order[start]]))
        end = start + min(fitting, max_windows or fitting)
        batches.append(order[start:end])
        start = end
    return batches


class Scorer:
    """Answers examples with a model; several threads may share it.

    Args:
        backend: Computes the logits.
        tokenizer: Cuts the text; no one else may use it at the same time.
    """

    def __init__(self, backend: Backend, tokenizer: PreTrainedTokenizerBase) -> None:
        self.backend = backend
        self.tokenizer = tokenizer
        # A tokenizer keeps truncation as a state of its own and refuses to change it while another thread uses it.
        self._tokenizing = Lock()

    def __call__(self, examples: Sequence[Example], settings: AnswerSettings) -> list[ChosenAnswer]:
        """Return the answer to every example, exactly as evaluation chooses it; identifiers must be unique.

        Windows, spans and choice are those of :mod:`distill.tasks.question_answering`. Only the batches differ, which
        may change the last digits of a score.
        """
        columns = self._windows(examples, settings)
        padder = WindowPadder(self.tokenizer, settings.max_length, length_multiple=self.backend.length_multiple)
        if num_cut := count_flagged(columns, "question_truncated"):
            log.warning("cut %d questions to %d tokens", num_cut, settings.max_question_length)
        lengths = np.asarray([len(ids) for ids in columns["input_ids"]], dtype=np.int64)
        answers: list[WindowAnswers] = []
        tokens = settings.tokens_per_batch or self.backend.tokens_per_batch
        for window_ids in token_batches(padder.widths(lengths), tokens, settings.batch_size):
            rows = {name: [column[i] for i in window_ids] for name, column in columns.items()}
            batch = padder(rows, window_ids.tolist(), examples)
            logits = self.backend(batch.inputs)
            answers += best_spans(logits, batch, settings.n_best, settings.max_answer_length)
        chosen = choose_answers(answers, settings.no_answer_threshold, settings.n_best)
        return [chosen[example.question_id] for example in examples]

    def _windows(self, examples: Sequence[Example], settings: AnswerSettings) -> dict[str, list[Any]]:
        """Return the columns of :func:`build_windows`, with a small array for the numbers of each window."""
        columns: dict[str, list[Any]] = defaultdict(list)
        for start, end in _slices(examples, CUT_CHARS):
            with self._tokenizing:
                cut = build_windows(
                    examples[start:end],
                    self.tokenizer,
                    settings.max_length,
                    settings.doc_stride,
                    settings.max_question_length,
                    example_index_offset=start,
                )
            for name, rows in cut.items():
                columns[name] += [np.asarray(row, np.int32) if isinstance(row, list) else row for row in rows]
        return columns


def _slices(examples: Sequence[Example], num_chars: int) -> Iterator[tuple[int, int]]:
    """Yield ``[start, end)`` of consecutive examples whose contexts have so many characters, the last one's aside."""
    start = held = 0
    for index, example in enumerate(examples):
        held += len(example.context)
        if held >= num_chars or index == len(examples) - 1:
            yield start, index + 1
            start, held = index + 1, 0
