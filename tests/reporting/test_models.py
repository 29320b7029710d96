"""Teacher, student and exported formats side by side."""

from __future__ import annotations

import pytest

from distill.reporting.models import comparable, contenders, is_percentage, score_axis
from distill.reporting.run import Run

from .runs import EXPORT, report


def test_models_and_formats_have_their_figures():
    teacher, student, torch, int8 = contenders(Run("x", report=report(), export=EXPORT))
    assert [model.role for model in (teacher, student, torch, int8)] == ["teacher", "student", "export", "export"]
    assert (teacher.p50_ms, student.p50_ms, torch.p50_ms, int8.p50_ms) == (12.1, 3.0, 3.1, 3.4)
    assert int8.name == "ONNX INT8"
    assert int8.problems == ("loses 0.90 F1", "slower than torch float32: 1.10x the time")
    assert torch.problems == ()


def test_a_format_timed_elsewhere_has_no_timings():
    other = {**report(), "benchmark": {"batch_size": 8, "length": 384}}
    assert contenders(Run("x", report=other, export=EXPORT))[-1].p50_ms is None


def test_without_report_or_teacher_there_are_fewer():
    assert contenders(Run("x")) == []
    assert [model.name for model in contenders(Run("x", report=report(with_teacher=False)))] == ["student"]


def test_units_are_said():
    assert score_axis("f1", "F1") == "F1, %"
    assert score_axis("perplexity", "perplexity") == "perplexity"
    assert is_percentage("accuracy")


def test_formats_stand_beside_the_student_by_their_ratio_to_its_weights():
    run = Run("x", report=report(), export=EXPORT)
    placed = {model.name: p50_ms for model, p50_ms in comparable(run, contenders(run))}
    # The student took 3.0 ms; in the sitting of the export its weights took 3.1 and INT8 3.4.
    assert placed == {"teacher": 12.1, "student": 3.0, "ONNX INT8": pytest.approx(3.0 * 3.4 / 3.1)}


@pytest.mark.parametrize("point", [{"dtype": "bfloat16"}, {"device": "cuda"}])
def test_formats_keep_their_times_where_the_run_timed_something_else(point):
    whole = report()
    whole["benchmark"] |= point
    run = Run("x", report=whole, export=EXPORT)
    assert [p50_ms for _, p50_ms in comparable(run, contenders(run))] == [12.1, 3.0, 3.1, 3.4]
