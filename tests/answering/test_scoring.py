import threading
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from distill.answering import scoring
from distill.answering.scoring import Scorer, token_batches
from distill.answering.settings import AnswerSettings
from distill.tasks.question_answering.task import QuestionAnswering
from distill.tasks.question_answering.windows import build_windows
from distill.types import Example
from tests.answering.conftest import CONTEXT

SETTINGS = AnswerSettings(max_length=64, doc_stride=16, max_question_length=24)


@given(
    st.lists(st.integers(1, 400), max_size=60),
    st.integers(1, 4000),
    st.one_of(st.none(), st.integers(1, 9)),
)
def test_batches_hold_every_window_once_within_their_bounds(lengths, max_tokens, max_windows):
    lengths = np.asarray(lengths, dtype=np.int64)
    batches = token_batches(lengths, max_tokens, max_windows)
    assert sorted(i for batch in batches for i in batch) == list(range(len(lengths)))
    for batch in batches:
        assert len(batch) == 1 or len(batch) * lengths[batch].max() <= max_tokens
        assert max_windows is None or len(batch) <= max_windows
    longest = [lengths[batch].max() for batch in batches]
    assert longest == sorted(longest, reverse=True)


def test_windows_of_like_length_share_a_batch():
    lengths = np.asarray([10, 100, 10, 100, 10], dtype=np.int64)
    assert [batch.tolist() for batch in token_batches(lengths, 200)] == [[1, 3], [0, 2, 4]]


def test_questions_that_are_cut_are_said(tiny, caplog):
    examples = [Example("a", "¿Dónde nació " + "y creció " * 30 + "Ana?", CONTEXT), Example("b", "¿Dónde?", CONTEXT)]
    tiny._scorer(examples, tiny.settings)
    assert caplog.messages == ["cut 1 questions to 21 tokens"]


def test_windows_are_cut_a_few_texts_at_a_time(tiny, monkeypatch):
    examples = [Example(str(i), f"¿Qué pasó {i} veces?", CONTEXT * (i % 3 + 1)) for i in range(7)]
    at_once = tiny._scorer(examples, tiny.settings)
    sizes = []

    def build(examples, *args, **options):
        sizes.append(len(examples))
        return build_windows(examples, *args, **options)

    monkeypatch.setattr(scoring, "build_windows", build)
    monkeypatch.setattr(scoring, "CUT_CHARS", 3 * len(CONTEXT))
    assert tiny._scorer(examples, tiny.settings) == at_once
    assert sizes == [2, 1, 2, 1, 1]
    assert tiny._scorer([], tiny.settings) == []


class Counting:
    """Points every window at its first token, and notes the shapes it was asked about."""

    num_parameters = None
    tokens_per_batch = 256
    length_multiple = 32

    def __init__(self):
        self.shapes = []

    def __call__(self, inputs):
        self.shapes.append(tuple(inputs["input_ids"].shape))
        logits = torch.zeros(*inputs["input_ids"].shape, 2)
        logits[:, 0] = -1.0
        return logits


def test_batches_stay_within_the_tokens(tokenizer):
    backend = Counting()
    examples = [Example(str(i), "¿Dónde nació?", CONTEXT * (1 + i % 5)) for i in range(20)]
    assert len(Scorer(backend, tokenizer)(examples, SETTINGS)) == 20
    assert all(rows * width <= 256 for rows, width in backend.shapes)
    assert max(rows for rows, _ in backend.shapes) == 4
    backend.shapes.clear()
    Scorer(backend, tokenizer)(examples, replace(SETTINGS, tokens_per_batch=64))
    assert {rows * width for rows, width in backend.shapes} <= {32, 64}


@pytest.mark.parametrize("multiple", [8, 32])
def test_windows_are_padded_as_the_backend_likes(tokenizer, multiple):
    backend = Counting()
    backend.length_multiple = multiple
    Scorer(backend, tokenizer)([Example("0", "¿Dónde?", "Ana nació en Jaén.")], SETTINGS)
    (_, width), *_ = backend.shapes
    assert (width % multiple, width) == (0, {8: 24, 32: 32}[multiple])


def test_several_threads_share_a_scorer(tiny):
    examples = [
        [Example(str(i), f"¿Dónde nació {i}?", CONTEXT * (1 + i % 3)) for i in range(k, k + 6)] for k in range(8)
    ]
    scorer, settings = tiny._scorer, tiny.settings
    expected = [[answer.text for answer in scorer(each, settings)] for each in examples]
    found, failures = [None] * len(examples), []

    def run(index):
        try:
            found[index] = [answer.text for answer in scorer(examples[index], settings)]
        except Exception as error:  # noqa: BLE001 - carried to the main thread
            failures.append(error)

    threads = [threading.Thread(target=run, args=(index,)) for index in range(len(examples))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert found == expected


@pytest.mark.parametrize("batch", [1, 7, None])
def test_answers_do_not_depend_on_the_batches(tiny, batch):
    examples = [Example(str(i), f"¿Quién nació en {1900 + i}?", CONTEXT * (1 + i % 4)) for i in range(12)]
    whole = tiny._scorer(examples, tiny.settings)
    settings = replace(tiny.settings, batch_size=batch, tokens_per_batch=300)
    for mine, other in zip(whole, tiny._scorer(examples, settings), strict=True):
        assert mine.score == pytest.approx(other.score, abs=1e-4)
        assert mine.null_score == pytest.approx(other.null_score, abs=1e-4)


def test_answers_are_those_of_the_tasks_own_evaluation(tiny, make_evaluation):
    examples = [Example(str(i), f"¿Quién nació en {1900 + i}?", CONTEXT * (1 + i % 4)) for i in range(12)]
    settings = replace(tiny.settings, no_answer_threshold=0.0)
    assert [answer.text for answer in tiny._scorer(examples, settings)] == make_evaluation(
        tiny._scorer.backend.model, examples, settings, QuestionAnswering()
    )
