"""Which predictions are shown, and how."""

from __future__ import annotations

import pytest

from distill.reporting.samples import COLUMNS, excerpt, sample_rows
from distill.tasks.base import Shown

CONTEXT = "Lucía nació en Cádiz. " * 20


def example(number, answers=("Cádiz",)):
    start_char = CONTEXT.index(answers[0]) if answers else None
    return Shown(f"q{number}", f"¿Pregunta {number}?", CONTEXT, answers, start_char)


EXAMPLES = [example(number) for number in range(100)]
#: 97 right answers of both, and three kinds of failure that a plain sample would miss.
TEACHER = {item.item_id: "Cádiz" for item in EXAMPLES} | {"q1": "Lucía", "q3": "nació"}
STUDENT = {item.item_id: "Cádiz" for item in EXAMPLES} | {"q1": "Lucía", "q2": "en"}


def test_rare_disagreements_are_shown():
    rows = sample_rows(EXAMPLES, STUDENT, TEACHER, num_samples=8)
    assert len(rows) == 8
    assert {"q1", "q2", "q3"} <= {row["question_id"] for row in rows}
    assert len({row["question_id"] for row in rows}) == 8


def test_the_choice_does_not_depend_on_the_order_of_examples():
    assert sample_rows(EXAMPLES, STUDENT, TEACHER, 9) == sample_rows(EXAMPLES[::-1], STUDENT, TEACHER, 9)


def test_columns_and_cells():
    (row,) = sample_rows([example(2)], STUDENT, TEACHER, 5)
    assert tuple(row) == COLUMNS
    assert (row["student"], row["teacher"], row["reference"]) == ("en", "Cádiz", "Cádiz")
    assert "Cádiz" in row["context"]


def test_without_a_teacher_there_is_no_column_for_it():
    rows = sample_rows(EXAMPLES, STUDENT, None, 3)
    assert len(rows) == 3
    assert all("teacher" not in row for row in rows)


def test_an_empty_answer_to_an_impossible_question_is_right():
    rows = sample_rows([example(0, ()), example(1, ())], {"q0": "", "q1": "Cádiz"}, None, 2)
    assert {row["question_id"]: (row["reference"], row["student"]) for row in rows} == {
        "q0": ("", ""),
        "q1": ("", "Cádiz"),
    }


def test_examples_without_a_prediction_are_passed_over():
    assert [row["question_id"] for row in sample_rows(EXAMPLES, {"q5": "x"}, None, 10)] == ["q5"]
    assert sample_rows([], {}, None, 10) == []


@pytest.mark.parametrize(("start", "expected"), [(0, "abcd…"), (9, "…ghij"), (5, "…defg…")])
def test_excerpt_marks_what_was_cut(start, expected):
    assert excerpt("abcdefghij", start, 4) == expected


def test_excerpt_of_a_short_context_is_the_context():
    assert excerpt("abc", 1, 50) == "abc"
