import math
import random

import pytest
import torch

from distill.tasks.question_answering.answers import WindowAnswers, best_spans, choose_answers
from distill.tasks.question_answering.windows import NULL_POSITION
from distill.types import Answer, Batch, Example, UserError, Window

CONTEXT = "El río Ebro nace en Fontibre, cerca de Reinosa, y desemboca en el mar Mediterráneo tras 930 kilómetros."
EXAMPLES = [Example("q1", "¿Dónde nace?", CONTEXT), Example("q2", "¿Y esto?", "Nada  \n que ver aquí.")]


def every_span(logits, batch, max_answer_length):
    """All spans of every window by plain loops, best first."""
    for row, window in zip(logits.tolist(), batch.windows, strict=True):
        start, end = window.context_token
        visible = {start + i: span for i, span in enumerate(window.offsets) if span[1] > span[0]}
        spans = [
            (row[i][0] + row[j][1], visible[i][0], visible[j][1])
            for i in visible
            for j in range(i, min(i + max_answer_length, end))
            if j in visible
        ]
        yield sorted(spans, key=lambda span: -span[0])


@pytest.mark.parametrize("pad", ["right", "left"])
@pytest.mark.parametrize(("n_best", "max_answer_length"), [(1, 1), (5, 3), (20, 30), (10_000, 10_000)])
def test_equals_the_exhaustive_search(make_batch, pad, n_best, max_answer_length):
    batch = make_batch(EXAMPLES, pad=pad)
    logits = torch.randn(*batch.inputs["input_ids"].shape, 2)
    found = best_spans(logits, batch, n_best, max_answer_length)
    assert len(batch.windows) > 2
    assert len(found) == len(batch.windows)
    for answers, window, expected in zip(
        found, batch.windows, every_span(logits, batch, max_answer_length), strict=True
    ):
        assert answers.example is window.example
        assert len(answers.spans) == min(n_best, len(expected))
        for (score, *place), other in zip(answers.spans, expected, strict=False):
            assert score == pytest.approx(other[0], abs=1e-5)
            assert tuple(place) == other[1:]


@pytest.mark.parametrize("pad", ["right", "left"])
def test_null_score_stands_at_the_first_real_token(make_batch, pad):
    batch = make_batch(EXAMPLES, pad=pad)
    logits = torch.randn(*batch.inputs["input_ids"].shape, 2)
    for i, answers in enumerate(best_spans(logits, batch)):
        first = int(batch.attention_mask[i].nonzero()[0])
        assert answers.null_score == pytest.approx(float(logits[i, first].sum()), abs=1e-6)


def test_only_the_context_can_be_chosen(make_batch):
    batch = make_batch(EXAMPLES)
    logits = torch.full((*batch.inputs["input_ids"].shape, 2), 50.0)
    for row, window in enumerate(batch.windows):
        logits[row, slice(*window.context_token)] = 0.0
    for answers in best_spans(logits, batch):
        assert all(score == 0.0 for score, _, _ in answers.spans)
        assert answers.null_score == 100.0


def test_answers_have_no_outer_whitespace(make_batch):
    batch = make_batch(EXAMPLES)
    logits = torch.zeros(*batch.inputs["input_ids"].shape, 2)
    for answers in best_spans(logits, batch, n_best=10_000):
        assert answers.spans
        for _, start, end in answers.spans:
            text = answers.example.context[start:end]
            assert text
            assert text == text.strip()


def test_scores_are_added_in_float32(make_batch):
    batch = make_batch(EXAMPLES[:1])
    logits = torch.randn(*batch.inputs["input_ids"].shape, 2).to(torch.bfloat16)
    assert best_spans(logits, batch) == best_spans(logits.float(), batch)


def test_a_window_without_context_has_no_span():
    window = Window(3, EXAMPLES[0], (4, 4), [])
    batch = Batch({"attention_mask": torch.ones(1, 4)}, {}, torch.tensor([3]), [window])
    (answers,) = best_spans(torch.ones(1, 4, 2), batch)
    assert answers == WindowAnswers(EXAMPLES[0], (), 2.0)
    chosen = choose_answers([answers], null_threshold=None)["q1"]
    assert (chosen.text, chosen.score, chosen.n_best) == ("", -math.inf, ())


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_scores_that_are_no_numbers_are_an_error(make_batch, value):
    batch = make_batch(EXAMPLES)
    logits = torch.zeros(*batch.inputs["input_ids"].shape, 2)
    logits[:, -1] = value  # padding may hold anything
    best_spans(logits, batch)
    logits[-1, 5, 1] = value
    with pytest.raises(UserError, match=r"'q2'.*not finite"):
        best_spans(logits, batch)


def test_batches_must_match_their_logits(make_batch):
    batch = make_batch(EXAMPLES)
    with pytest.raises(ValueError, match="logits of 1 windows"):
        best_spans(torch.zeros(1, 48, 2), batch)
    with pytest.raises(ValueError, match="but there are 20 logits"):
        best_spans(torch.zeros(len(batch.windows), 20, 2), batch)


def test_perfect_logits_give_the_answers_back(make_batch):
    """Decoding is the inverse of building windows."""
    texts = ["Fontibre", "mar Mediterráneo", "930"]
    examples = [Example(text, "¿Qué?", CONTEXT, (Answer(text, CONTEXT.index(text)),)) for text in texts] + [
        Example("nada", "¿Qué?", CONTEXT)
    ]
    batch = make_batch(examples)
    logits = torch.zeros(*batch.inputs["input_ids"].shape, 2)
    rows = torch.arange(len(logits))
    logits[rows, batch.labels["start_positions"], 0] = 9.0
    logits[rows, batch.labels["end_positions"], 1] = 9.0
    chosen = choose_answers(best_spans(logits, batch), null_threshold=0.0)
    assert {key: answer.text for key, answer in chosen.items()} == {text: text for text in texts} | {"nada": ""}


SPANS = [(0, 2), (0, 6), (3, 6), (20, 28), (20, 24)]


def window_answers(null_score, *spans, example=EXAMPLES[0]):
    return WindowAnswers(example, spans, null_score)


def test_best_over_windows_and_shared_spans_count_once():
    windows = [
        window_answers(9.0, (3.0, 0, 2), (1.0, 20, 28)),
        window_answers(1.0, (4.0, 20, 28), (2.0, 3, 6)),
    ]
    for order in (windows, windows[::-1]):
        chosen = choose_answers(order, null_threshold=0.0)["q1"]
        assert chosen.text == "Fontibre"
        assert chosen.null_score == 1.0
        assert [(one.text, one.score) for one in chosen.n_best] == [("Fontibre", 4.0), ("El", 3.0), ("río", 2.0)]
    assert len(choose_answers(windows, 0.0, n_best=2)["q1"].n_best) == 2


@pytest.mark.parametrize(
    ("threshold", "is_empty"), [(None, False), (0.0, True), (1.9, True), (2.0, False), (5.0, False), (-9.0, True)]
)
def test_null_threshold(threshold, is_empty):
    chosen = choose_answers([window_answers(5.0, (3.0, 0, 2)), window_answers(7.0)], threshold)["q1"]
    assert (chosen.text == "") == is_empty
    assert chosen.n_best[0].text == "El"


def test_equal_scores_go_to_the_first_span():
    windows = [window_answers(0.0, (1.0, 20, 28)), window_answers(0.0, (1.0, 0, 6)), window_answers(0.0, (1.0, 0, 2))]
    for order in (windows, windows[::-1]):
        assert choose_answers(order, None)["q1"].text == "El"


def test_equal_scores_within_a_window_go_to_the_first_span():
    windows = [window_answers(0.0, (1.0, 20, 28), (1.0, 0, 6), (1.0, 0, 2), (0.5, 0, 1))]
    assert [choose_answers(windows, None, n_best)["q1"].text for n_best in (1, 2, 3)] == ["El", "El", "El"]


def test_tokens_of_one_letter_are_one_candidate():
    windows = [window_answers(0.0, (5.0, 0, 2), (4.0, 0, 2), (3.0, 0, 2), (2.0, 3, 6), (1.0, 20, 28))]
    assert [one.text for one in choose_answers(windows, None, n_best=2)["q1"].n_best] == ["El", "río"]


@pytest.mark.parametrize("n_best", [1, 2, 5])
def test_fewer_candidates_are_the_first_of_more(n_best):
    generator = random.Random(0)

    def window():
        spans = [(generator.randrange(4), *span) for span in generator.sample(SPANS, 4)]
        return window_answers(0.0, *sorted(spans, reverse=True))

    for _ in range(100):
        windows = [window() for _ in range(3)]
        fewer, more = (choose_answers(windows, None, n)["q1"] for n in (n_best, 20))
        assert fewer.n_best == more.n_best[:n_best]
        assert (fewer.text, fewer.score) == (more.text, more.score)


def test_questions_keep_their_order():
    answers = [window_answers(0.0, (1.0, 0, 2), example=example) for example in (*EXAMPLES[::-1], *EXAMPLES)]
    assert list(choose_answers(answers, None)) == ["q2", "q1"]


def test_null_position_is_never_in_the_context(make_batch):
    assert all(window.context_token[0] > NULL_POSITION for window in make_batch(EXAMPLES).windows)
