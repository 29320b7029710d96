import math

import pytest

from distill.answering.inputs import Item
from distill.answering.passages import Passage
from distill.answering.ranking import RankedAnswer, align_to_words, rank, softmax
from distill.tasks.question_answering.answers import Candidate, ChosenAnswer
from distill.types import Example

CONTEXTS = ("Ana nació en Jaén.", "Eva murió en Ávila.")
ITEM = Item("¿Dónde?", CONTEXTS, True)


def passage(context_index=0, start_char=0):
    return Passage(
        Example("0", ITEM.question, CONTEXTS[context_index][start_char:]), ITEM, context_index, start_char, True
    )


def chosen(null_score, *spans, context=CONTEXTS[0]):
    candidates = tuple(Candidate(context[start:end], score, start, end) for start, end, score in spans)
    return ChosenAnswer("", -math.inf, null_score, candidates)


def texts(ranked):
    return [answer.text for answer in ranked]


def test_probabilities_are_a_softmax_over_the_candidates():
    found = [(passage(), chosen(1.0, (13, 17, 3.0), (0, 3, 2.0)))]
    ranked = rank(found, 0.0, n_best=20, temperature=1.0)
    assert texts(ranked) == ["Jaén", "Ana", ""]
    total = math.exp(3) + math.exp(2) + math.exp(1)
    expected = [math.exp(3) / total, math.exp(2) / total, math.exp(1) / total]
    assert [answer.probability for answer in ranked] == pytest.approx(expected)
    assert (ranked[0].start_char, ranked[0].end_char, ranked[0].logit) == (13, 17, 3.0)


def test_without_a_threshold_no_answer_is_no_candidate():
    ranked = rank([(passage(), chosen(99.0, (13, 17, 3.0), (0, 3, 3.0)))], None, n_best=20, temperature=1.0)
    assert texts(ranked) == ["Ana", "Jaén"]  # equal scores: the first in the text
    assert [answer.probability for answer in ranked] == [0.5, 0.5]


@pytest.mark.parametrize(("threshold", "place"), [(0.0, 0), (1.0, 0), (1.5, 1), (2.5, 2), (3.0, 2)])
def test_no_answer_stands_where_the_threshold_puts_it(threshold, place):
    found = [(passage(), chosen(4.5, (13, 17, 3.0), (0, 3, 2.0)))]
    ranked = rank(found, threshold, n_best=20, temperature=1.0)
    assert texts(ranked).index("") == place
    assert (ranked[place].start_char, ranked[place].end_char) == (0, 0)


def test_nothing_to_choose_is_no_answer_for_certain():
    (ranked,) = rank([(passage(), chosen(1.0))], None, n_best=20, temperature=1.0)
    assert (ranked.text, ranked.probability) == ("", 1.0)


def test_the_best_of_several_contexts_wins_and_one_sure_context_is_enough():
    found = [
        (passage(0), chosen(9.0, (13, 17, 3.0))),
        (passage(1), chosen(-2.0, (13, 18, 5.0), context=CONTEXTS[1])),
    ]
    ranked = rank(found, 0.0, n_best=20, temperature=1.0)
    assert [(answer.text, answer.context_index) for answer in ranked] == [("Ávila", 1), ("Jaén", 0), ("", 0)]
    assert ranked[2].logit == -2.0


def test_a_span_that_two_passages_hold_counts_once_with_its_best_score():
    rest = CONTEXTS[0][10:]
    found = [
        (passage(), chosen(0.0, (13, 17, 3.0))),
        (passage(start_char=10), chosen(0.0, (3, 7, 4.0), context=rest)),
    ]
    ranked = rank(found, None, n_best=20, temperature=1.0)
    assert [(answer.text, answer.logit, answer.start_char) for answer in ranked] == [("Jaén", 4.0, 13)]


def test_n_best_bounds_the_spans_over_all_passages():
    spans = [(i, i + 1, float(i)) for i in range(10)]
    assert len(rank([(passage(), chosen(0.0, *spans))], 0.0, n_best=4, temperature=1.0)) == 5


def test_a_higher_temperature_is_less_sure_and_changes_no_order():
    found = [(passage(), chosen(1.0, (13, 17, 3.0), (0, 3, 2.0)))]
    cold, hot = (rank(found, 0.0, 20, temperature) for temperature in (0.5, 5.0))
    assert texts(cold) == texts(hot)
    assert cold[0].probability > hot[0].probability > 1 / 3


def test_softmax_neither_overflows_nor_needs_anything():
    assert softmax([1e5, -1e5]) == [1.0, 0.0]
    assert softmax([]) == []


@pytest.mark.parametrize(
    ("context", "span", "text"),
    [
        ("nació en Cádiz.", (11, 14), "Cádiz"),
        ("nació en Ca\u0301diz.", (9, 10), "Ca\u0301diz"),
        ("el 2,5 %", (3, 4), "2"),
        ("Íñigo", (0, 5), "Íñigo"),
        ("año 1900", (4, 6), "1900"),
        ("«fin»", (1, 2), "fin"),
        ("uno dos", (0, 0), ""),
    ],
)
def test_answers_grow_to_whole_words(context, span, text):
    aligned = align_to_words(RankedAnswer(context[slice(*span)], 0.0, 1.0, *span), context)
    assert aligned.text == text == context[aligned.start_char : aligned.end_char]
