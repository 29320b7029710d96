"""Line charts: every value has its place."""

from __future__ import annotations

import math

import pytest

from distill.reporting.charts.frame import HEIGHT, WIDTH, Span
from distill.reporting.charts.lines import Level, Series, line_chart, thin
from distill.reporting.charts.markup import to_markup


def texts(chart):
    return [node.text for node in chart.iter("text")]


def coordinates(node):
    return [tuple(map(float, pair.split(","))) for pair in node.get("points").split()]


def test_lines_levels_and_stages_are_drawn_and_named():
    chart = line_chart(
        "Scores",
        "optimizer step",
        "F1, %",
        [Series("student", [(0, 10), (50, 60), (100, 80)], "student", marks=True)],
        [Level("teacher", 90, "teacher")],
        [Span("first", 0, 40), Span("second", 40, 100)],
    )
    (line,) = chart.findall("polyline")
    points = coordinates(line)
    assert len(points) == 3
    assert points[0][0] < points[1][0] < points[2][0]
    assert points[0][1] > points[1][1] > points[2][1]  # upwards is smaller
    assert {"optimizer step", "F1, %", "student", "teacher", "first", "second"} <= set(texts(chart))
    assert [node.find("title").text for node in chart.iter("circle")][-1] == "student 80 at 100"
    assert sum(node.get("class") == "switch" for node in chart.iter("line")) == 1
    (level,) = [node for node in chart.iter("line") if node.get("class") == "line teacher"]
    assert float(level.get("y1")) < points[2][1]
    assert chart.get("aria-label") == "Scores"


def test_everything_lies_inside():
    series = [Series("x" * 60, [(step, math.sin(step)) for step in range(40)], "c1", band=[(-2, 2)] * 40)]
    chart = line_chart("t", "s" * 200, "v" * 200, series, spans=[Span("n" * 90, 0, 39)])
    for node in chart.iter("text"):
        assert 0 <= float(node.get("x")) <= WIDTH
        assert 0 <= float(node.get("y")) <= HEIGHT
    for node in [*chart.iter("polyline"), *chart.iter("polygon")]:
        assert all(0 <= x <= WIDTH and 0 <= y <= HEIGHT for x, y in coordinates(node))


@pytest.mark.parametrize(("values", "is_log"), [((1, 100), True), ((0, 100), False), ((50, 80), False)])
def test_the_axis_is_logarithmic_where_values_span_orders_of_magnitude(values, is_log):
    chart = line_chart("t", "x", "loss", [Series("", list(enumerate(values)), "c1")])
    assert ("loss, log scale" in texts(chart)) is is_log


def test_values_that_are_not_numbers_are_left_out():
    chart = line_chart(
        "t", "x", "y", [Series("a", [(0, 1.0), (1, math.nan), (2, math.inf), (3, 2.0)], "c1", marks=True)]
    )
    assert len(coordinates(chart.find("polyline"))) == 2
    assert "nan" not in to_markup(chart)
    assert "inf" not in to_markup(chart)


@pytest.mark.parametrize("points", [[], [(3, 3)], [(0, 0), (0, 0)], [(1, math.nan)]])
def test_little_data_makes_a_chart_all_the_same(points):
    assert texts(line_chart("t", "x", "y", [Series("a", points, "c1")], log_y=None))


def test_many_points_become_means_with_their_range():
    points = [(step, float(step % 2)) for step in range(1000)]
    means, band = thin(points, 100)
    assert len(means) == len(band) == 100
    assert all(value == 0.5 for _, value in means)
    assert set(band) == {(0.0, 1.0)}
    assert thin([(0, 1.0), (1, math.nan)], 5) == ([(0.0, 1.0)], [(1.0, 1.0)])
    assert thin([], 5) == ([], [])
