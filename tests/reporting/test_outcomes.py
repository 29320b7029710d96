"""Items one by one: groups, agreement and rows."""

from __future__ import annotations

import json

import pytest

from distill.reporting.outcomes import compare_outcomes, count_agreement, json_lines, mean_scores, outcome_rows
from distill.tasks.base import EvaluationResult


def result(**outcomes):
    scores = {item: {"exact_match": float(match), "f1": f1} for item, (match, f1) in outcomes.items()}
    groups = {"kind": {"first": ["a", "b"], "second": ["c"]}}
    return EvaluationResult({"f1": 0.0}, dict.fromkeys(outcomes, "texto"), scores, groups)


STUDENT = result(a=(100, 100.0), b=(0, 50.0), c=(0, 0.0))
TEACHER = result(a=(100, 100.0), b=(100, 100.0), c=(0, 20.0))


def test_groups_have_the_means_of_both_models():
    rows = compare_outcomes(STUDENT, TEACHER)["breakdowns"]["kind"]
    assert rows == [
        {
            "group": "first",
            "num_items": 2,
            "student": {"exact_match": 50.0, "f1": 75.0},
            "teacher": {"exact_match": 100.0, "f1": 100.0},
        },
        {
            "group": "second",
            "num_items": 1,
            "student": {"exact_match": 0.0, "f1": 0.0},
            "teacher": {"exact_match": 0.0, "f1": 20.0},
        },
    ]


def test_without_a_teacher_its_part_is_null():
    parts = compare_outcomes(STUDENT, None)
    assert parts["agreement"] is None
    assert [row["teacher"] for row in parts["breakdowns"]["kind"]] == [None, None]


def test_a_task_without_single_outcomes_has_nothing_to_say():
    assert compare_outcomes(EvaluationResult({"perplexity": 9.0}), EvaluationResult({"perplexity": 8.0})) == {
        "breakdowns": {},
        "agreement": None,
    }


def test_agreement_counts_every_common_item_once():
    student = result(a=(100, 0.0), b=(0, 0.0), c=(100, 0.0), d=(0, 0.0), e=(0, 0.0)).outcomes
    teacher = result(a=(100, 0.0), b=(100, 0.0), c=(0, 0.0), d=(0, 0.0)).outcomes
    assert count_agreement(student, teacher) == {"both": 1, "teacher_only": 1, "student_only": 1, "neither": 1}
    assert count_agreement(student, {}) is None


def test_means_of_nothing_are_nothing_and_of_the_unknown_an_error():
    assert mean_scores({}, []) == {}
    with pytest.raises(KeyError):
        mean_scores({}, ["a"])


def test_rows_hold_prediction_and_scores_of_both():
    rows = [json.loads(line) for line in json_lines(outcome_rows(STUDENT, TEACHER)).splitlines()]
    assert [row["id"] for row in rows] == ["a", "b", "c"]
    assert rows[1]["student"] == {"prediction": "texto", "exact_match": 0.0, "f1": 50.0}
    assert rows[1]["teacher"] == {"prediction": "texto", "exact_match": 100.0, "f1": 100.0}
    assert outcome_rows(EvaluationResult({}), None) == []
