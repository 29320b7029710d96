"""The result as tables of numbers with units."""

from __future__ import annotations

import pytest

from distill.reporting.run import Run
from distill.reporting.tables import result_tables, score_column

from .runs import EXPORT, latency, report


def test_units_are_in_column_names():
    assert score_column("exact_match") == "exact_match_percent"
    assert score_column("cross_entropy") == "cross_entropy"


def test_tables_hold_the_reports_numbers():
    run = Run("x", report=report(), latency=latency(), export=EXPORT)
    tables = result_tables(run)
    assert list(tables) == ["models", "latency", "question_word"]
    models = tables["models"]
    assert models.column("f1_percent") == [84.4, 78.5, 78.5, 77.6]
    assert models.column("size_mb") == pytest.approx([4.974088, 1.234696, 1.234696, 0.4])
    assert len(tables["latency"].rows) == 12
    assert tables["question_word"].columns == (
        *("question_word", "num_items", "student/exact_match_percent", "student/f1_percent"),
        *("teacher/exact_match_percent", "teacher/f1_percent"),
    )
    assert tables["question_word"].rows[0] == ("qué", 7, 77.0, 80.0, 87.0, 90.0)


def test_tables_without_rows_are_left_out():
    assert result_tables(Run("x")) == {}
    tables = result_tables(Run("x", report=report(with_teacher=False)))
    assert len(tables["question_word"].columns) == 4
