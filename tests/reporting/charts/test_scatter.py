"""Scatter charts: marks, front, labels."""

from __future__ import annotations

import pytest

from distill.reporting.charts.frame import HEIGHT, WIDTH
from distill.reporting.charts.labels import FONT_SIZE, text_width
from distill.reporting.charts.scatter import Mark, scatter_chart


def boxes(chart, names):
    found = {}
    for node in chart.iter("text"):
        if node.text in names:
            left, bottom = float(node.get("x")), float(node.get("y")) + 2
            found[node.text] = (left, bottom - FONT_SIZE, left + text_width(node.text), bottom)
    return found


def test_marks_differ_in_shape_and_say_what_they_are():
    marks = [Mark(12.0, 84.4, "teacher", "teacher", "diamond", "84.4 at 12 ms"), Mark(3.0, 78.5, "student", "student")]
    chart = scatter_chart("F1 against latency", "ms", "F1, %", marks, [(3.0, 78.5), (12.0, 84.4)])
    (diamond,) = chart.iter("polygon")
    (circle,) = chart.iter("circle")
    assert diamond.find("title").text == "84.4 at 12 ms"
    assert float(circle.get("cx")) < float(diamond.get("points").split(",")[0])
    (front,) = chart.iter("polyline")
    assert len(front.get("points").split()) == 3  # along, then up


def test_labels_hide_neither_one_another_nor_leave_the_chart():
    names = [f"format number {index}" for index in range(5)]
    marks = [Mark(3.0 + 0.01 * index, 78.0 + 0.01 * index, name, "export") for index, name in enumerate(names)]
    placed = boxes(scatter_chart("t", "x", "y", [*marks, Mark(40.0, 90.0, "far", "teacher")]), names)
    assert len(placed) == 5
    for name, (left, top, right, bottom) in placed.items():
        assert 0 <= left < right <= WIDTH
        assert 0 <= top < bottom <= HEIGHT
        for other, box in placed.items():
            assert name == other or left >= box[2] or box[0] >= right or top >= box[3] or box[1] >= bottom


@pytest.mark.parametrize(("xs", "is_log"), [((1.0, 2.0), False), ((1.0, 80.0), True)])
def test_the_cost_axis_begins_at_zero_or_is_logarithmic(xs, is_log):
    chart = scatter_chart("t", "ms", "F1", [Mark(x, 1.0, "", "student") for x in xs])
    labels = [node.text for node in chart.iter("text")]
    assert ("ms, log scale" in labels) is is_log
    assert is_log or "0" in labels


def test_no_mark_and_one_mark_make_a_chart():
    assert list(scatter_chart("t", "x", "y", []))
    assert list(scatter_chart("t", "x", "y", [Mark(0.0, 0.0, "a", "student")]).iter("circle"))
