"""Charts of groups: dots and shares."""

from __future__ import annotations

import pytest

from distill.reporting.charts.frame import WIDTH
from distill.reporting.charts.rows import Row, Share, dot_chart, share_chart


def texts(chart):
    return [node.text for node in chart.iter("text")]


def test_dots_stand_at_their_values_with_the_gap_between():
    chart = dot_chart("F1 by word", "F1, %", [Row("qué", 80.0, 90.0, "(7)"), Row("dónde", 50.0, 50.0, "(5)")])
    circles = [float(node.get("cx")) for node in chart.iter("circle")][1:]  # the first is the key's
    assert circles[0] > circles[1]
    gaps = [node for node in chart.iter("line") if node.get("class") == "gap"]
    assert [float(node.get("x2")) - float(node.get("x1")) > 1 for node in gaps] == [True, False]
    assert {"student", "teacher", "F1, %", "0", "100"} <= set(texts(chart))
    assert "qué  (7)" in texts(chart)


def test_without_a_teacher_there_is_no_key():
    chart = dot_chart("t", "F1, %", [Row("qué", 80.0)])
    assert "teacher" not in texts(chart)
    assert len(list(chart.iter("circle"))) == 1


def test_shares_fill_the_bar_and_say_their_percentage():
    chart = share_chart("Agreement", [Share("both right", 3, "c1"), Share("neither right", 1, "c5")])
    bars = [node for node in chart.iter("rect") if node.find("title") is not None]
    assert [float(node.get("width")) for node in bars] == pytest.approx([WIDTH * 0.75, WIDTH * 0.25])
    assert {"3  (75.0 %)", "1  (25.0 %)"} <= set(texts(chart))
    assert "0  (0.0 %)" in texts(share_chart("t", [Share("none", 0, "c1")]))
