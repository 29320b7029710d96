"""The report's arithmetic and its table."""

from __future__ import annotations

import json

import pytest
from rich.console import Console

from distill.reporting.comparison import (
    ModelFigures,
    build_report,
    comparison_table,
    flatten_figures,
    ratio,
    score_label,
    scores_table,
    table_scores,
)
from distill.reporting.latency import Latency
from distill.tasks.masked_language.task import MaskedLanguage
from distill.tasks.question_answering.task import QuestionAnswering

SCORES = {
    "exact_match": 60.0,
    "f1": 72.0,
    "squad/exact_match": 58.0,
    "squad/f1": 71.0,
    "has_answer/exact_match": 50.0,
    "has_answer/f1": 70.0,
    "unseen_wording/exact_match": 40.0,
    "unseen_wording/f1": 55.0,
    "num_questions": 12.0,
}
HEADLINE = QuestionAnswering.headline
STUDENT = ModelFigures(SCORES, 1_000, 4_000, Latency(2.0, 3.0, 500.0))
TEACHER = ModelFigures({**SCORES, "exact_match": 80.0, "f1": 90.0}, 5_000, 20_000, Latency(8.0, 9.0, 125.0))
POINT = {"batch_size": 1, "length": 384, "dtype": "float32"}


def report(student=STUDENT, teacher=TEACHER, benchmark=POINT):
    return build_report(
        student, teacher, [{"name": "logits"}], {"max_length": 384}, {"python": "3"}, {}, benchmark, HEADLINE
    )


def render(table):
    console = Console(width=120, record=True, file=open("/dev/null", "w"))  # noqa: PTH123, SIM115
    console.print(table)
    return console.export_text()


def test_ratios_are_better_when_larger():
    result = report()
    assert result["retention"] == {"exact_match": pytest.approx(0.75), "f1": pytest.approx(0.8)}
    assert result["speedup"] == {"p50": pytest.approx(4.0)}
    assert result["compression"] == {"parameters": pytest.approx(5.0), "bytes": pytest.approx(5.0)}


def test_report_has_the_promised_shape():
    result = json.loads(json.dumps(report()))
    for name, figures in (("student", STUDENT), ("teacher", TEACHER)):
        side = result[name]
        assert side["f1"] == figures.scores["f1"]
        assert side["exact_match"] == figures.scores["exact_match"]
        assert side["num_parameters"] == figures.num_parameters
        assert side["size_bytes"] == figures.size_bytes
        assert side["latency_ms"] == {"p50": figures.latency.p50_ms, "p95": figures.latency.p95_ms}
        assert side["scores"] == dict(figures.scores)
    assert result["stages"] == [{"name": "logits"}]
    assert result["data"] == {"max_length": 384}
    assert result["environment"] == {"python": "3"}
    assert result["status"] == "finished"


def masked_language_report(with_teacher=True):
    student = ModelFigures({"perplexity": 20.0, "cross_entropy": 3.0, "accuracy": 40.0, "num_masked_tokens": 9.0}, 1, 4)
    teacher = ModelFigures({"perplexity": 10.0, "cross_entropy": 2.0, "accuracy": 50.0, "num_masked_tokens": 9.0}, 5, 8)
    return build_report(
        student, teacher if with_teacher else None, [], {}, {}, {}, headline=MaskedLanguage.headline,
        throughput={"total": {"num_tokens": 3}},
    )  # fmt: skip


def test_ratio_of_a_score_where_lower_is_better_is_turned_round():
    result = masked_language_report()
    assert result["retention"] == pytest.approx({"perplexity": 0.5, "cross_entropy": 2 / 3, "accuracy": 0.8})
    assert (result["student"]["perplexity"], result["teacher"]["perplexity"]) == (20.0, 10.0)
    assert "f1" not in result["student"]
    assert result["throughput"] == {"total": {"num_tokens": 3}}
    assert report()["throughput"] is None


def test_headline_of_the_task_leads_the_table_under_its_labels():
    lines = [line for line in render(comparison_table(masked_language_report())).splitlines() if "│" in line]
    assert [line.split("│")[1].strip() for line in lines[:3]] == [score.label for score in MaskedLanguage.headline]
    assert [cell.strip() for cell in lines[0].split("│")[2:5]] == ["10.00", "20.00", "0.500"]
    assert not any("num_masked" in line for line in lines)


def test_scores_of_one_model_follow_the_headline_and_end_with_the_counts():
    scores = {"accuracy": 40.0, "num_masked_tokens": 1234.0, "perplexity": 20.0}
    lines = [line for line in render(scores_table(scores, "Test", MaskedLanguage.headline)).splitlines() if "│" in line]
    assert [[cell.strip() for cell in line.split("│")[1:3]] for line in lines] == [
        ["perplexity", "20.00"],
        ["accuracy, masked tokens", "40.00"],
        ["masked tokens", "1,234"],
    ]


def test_report_without_a_teacher_or_latency():
    result = report(ModelFigures(SCORES, 1_000, 4_000), None, None)
    assert result["teacher"] is None
    assert result["retention"] == {"exact_match": None, "f1": None}
    assert result["speedup"] == {"p50": None}
    assert result["compression"] == {"parameters": None, "bytes": None}
    assert result["student"]["latency_ms"] == {"p50": None, "p95": None}


@pytest.mark.parametrize(
    ("numerator", "denominator", "expected"), [(3, 2, 1.5), (0, 2, 0), (2, 0, None), (None, 2, None)]
)
def test_ratio_never_divides_by_nothing(numerator, denominator, expected):
    assert ratio(numerator, denominator) == expected


def test_zero_scores_of_the_teacher_are_reported():
    zero = ModelFigures({"exact_match": 0.0, "f1": 0.0}, 5, 5)
    result = report(teacher=zero)
    assert result["retention"] == {"exact_match": None, "f1": None}
    assert "F1" in render(comparison_table(result))


def test_table_shows_teacher_student_and_ratio():
    text = render(comparison_table(report(), caption="best weights"))
    rows = {
        line.split("│")[1].strip(): [c.strip() for c in line.split("│")[2:5]]
        for line in text.splitlines()
        if "│" in line
    }
    assert rows["F1"] == ["90.00", "72.00", "0.800"]
    assert rows["parameters"] == ["5,000", "1,000", "5.00x"]
    assert rows["p50, ms (batch 1 x 384)"] == ["8.00", "2.00", "4.00x"]
    assert rows["windows/s (batch 1 x 384)"] == ["125.0", "500.0", "4.000"]
    assert "F1, unseen_wording" in rows
    assert "EM, SQuAD script" in rows
    assert "best weights" in text


def test_table_without_a_teacher_has_no_columns_for_it():
    table = comparison_table(report(teacher=None))
    assert [column.header for column in table.columns] == ["", "student"]
    assert "72.00" in render(table)


def test_table_without_latency_has_no_rows_for_it():
    text = render(comparison_table(report(ModelFigures(SCORES, 1, 1), ModelFigures(SCORES, 1, 1), None)))
    assert "ms" not in text
    assert "windows/s" not in text


def test_scores_are_shown_in_a_fixed_order():
    assert table_scores(SCORES) == [
        "exact_match", "f1", "squad/exact_match", "squad/f1", "has_answer/f1", "unseen_wording/f1",
    ]  # fmt: skip


def test_scores_of_other_tasks_are_shown_too():
    assert table_scores({"accuracy": 1.0, "f1": 2.0}) == ["f1", "accuracy"]
    assert score_label("accuracy") == "accuracy"


def test_scores_table_counts_questions():
    text = render(scores_table(SCORES, "Test"))
    assert "questions" in text
    assert "12" in text


def test_flattened_figures_are_numbers_under_slashed_names():
    flat = flatten_figures(report(teacher=None))
    assert flat["report/student/latency_ms/p50"] == 2.0
    assert flat["report/student/scores/unseen_wording/f1"] == 55.0
    assert all(isinstance(value, float) for value in flat.values())
    assert not any(name.startswith(("report/teacher", "report/speedup")) for name in flat)
