"""Line charts: values over steps, lengths or anything else that grows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from distill.reporting.charts.frame import (
    LABEL_GAP,
    MAX_LABEL_SHARE,
    WIDTH,
    Axis,
    Frame,
    Span,
    drawing,
    frame,
    line,
    text,
)
from distill.reporting.charts.labels import FONT_SIZE, shorten, spread
from distill.reporting.charts.markup import Element, element, number
from distill.reporting.charts.scales import bounds, tick_label

Point = tuple[float, float]

#: A logarithmic axis is worth its while once the largest value is so many times the smallest.
LOG_RATIO = 20.0


@dataclass(frozen=True)
class Series:
    """One line.

    Attributes:
        label: Stands at the right end of the line; empty for none.
        points: Positions along x with their values; x rises.
        style: Class that colours and dashes it, such as ``student``.
        band: Lowest and highest value around each point, drawn behind the line.
        marks: Whether each point is marked, with its value as tooltip.
    """

    label: str
    points: Sequence[Point]
    style: str
    band: Sequence[tuple[float, float]] = ()
    marks: bool = False


@dataclass(frozen=True)
class Level:
    """A horizontal line across the whole chart, such as the teacher's score."""

    label: str
    value: float
    style: str


def line_chart(
    title: str,
    x_label: str,
    y_label: str,
    series: Sequence[Series],
    levels: Sequence[Level] = (),
    spans: Sequence[Span] = (),
    x_bounds: tuple[float, float] | None = None,
    x_ticks: Sequence[float] | None = None,
    log_x: bool = False,
    log_y: bool | None = None,
    from_zero: bool = False,
) -> Element:
    """Draw lines over a common axis, labelled where they end.

    Args:
        title: What the chart shows, in words.
        x_label: Quantity and unit along x.
        y_label: Quantity and unit along y.
        series: The lines.
        levels: Horizontal lines.
        spans: Named parts of the x axis.
        x_bounds: First and last x; those of the lines when left out.
        x_ticks: Values to mark along x.
        log_x: Whether x is logarithmic.
        log_y: Whether y is; when left out, if all values are positive and their largest is ``LOG_RATIO`` times the
            smallest.
        from_zero: Whether the y axis, then linear, begins at 0.
    """
    values = [value for one in series for _, value in one.points]
    values += [value for one in series for band in one.band for value in band] + [level.value for level in levels]
    values = [value for value in values if math.isfinite(value)]
    if log_y is None:
        log_y = not from_zero and bool(values) and min(values) > 0 and max(values) / min(values) >= LOG_RATIO
    low, high = bounds([*values, 0.0] if from_zero else values, log_y)
    xs = [x for one in series for x, _ in one.points]
    first, last = x_bounds or (min(xs, default=0.0), max(xs, default=1.0))
    if first == last:
        first, last = bounds([first], log_x)
    labels = [one.label for one in series if one.points] + [level.label for level in levels]
    area = frame(
        Axis(x_label + (", log scale" if log_x else ""), first, last, log_x, x_ticks),
        Axis(y_label + (", log scale" if log_y else ""), low, high, log_y),
        spans,
        [label for label in labels if label],
    )
    return drawing(
        title,
        *area.elements,
        *(_band(area, one) for one in series if one.band),
        *(line(area.left, area.y(one.value), area.right, area.y(one.value), f"line {one.style}") for one in levels),
        *(part for one in series for part in _line(area, one)),
        *_end_labels(area, series, levels),
    )


def thin(points: Sequence[Point], count: int) -> tuple[list[Point], list[tuple[float, float]]]:
    """Reduce points to at most ``count``: the mean of each run of neighbours, and their lowest and highest value.

    Values that are not finite are left out; a run of nothing else leaves no point. Few points stay as they are.

    Returns:
        The points, and as many (lowest, highest).
    """
    finite = [point for point in points if math.isfinite(point[1])]
    size = max(1, math.ceil(len(finite) / count))
    runs = [finite[start : start + size] for start in range(0, len(finite), size)]
    means = [(sum(x for x, _ in run) / len(run), sum(y for _, y in run) / len(run)) for run in runs]
    return means, [(min(y for _, y in run), max(y for _, y in run)) for run in runs]


def _line(area: Frame, series: Series) -> list[Element]:
    points = [(area.x(x), area.y(y)) for x, y in series.points if math.isfinite(y)]
    if not points:
        return []
    parts = [element("polyline", points=_coordinates(points), class_=f"line {series.style}")]
    if series.marks or len(points) == 1:
        parts += [
            element(
                "circle",
                element("title", f"{series.label} {tick_label(value)} at {tick_label(position)}".strip()),
                cx=x,
                cy=y,
                r=3.0,
                class_=f"mark {series.style}",
            )
            for (x, y), (position, value) in zip(
                points, [point for point in series.points if math.isfinite(point[1])], strict=True
            )
        ]
    return parts


def _band(area: Frame, series: Series) -> Element:
    xs = [area.x(x) for x, _ in series.points]
    lower = [(x, area.y(low)) for x, (low, _) in zip(xs, series.band, strict=True)]
    upper = [(x, area.y(high)) for x, (_, high) in zip(xs, series.band, strict=True)]
    return element("polygon", points=_coordinates(lower + upper[::-1]), class_=f"band {series.style}")


def _end_labels(area: Frame, series: Sequence[Series], levels: Sequence[Level]) -> list[Element]:
    ends = [(one.label, area.y(one.points[-1][1]), one.style) for one in series if one.points and one.label]
    ends += [(level.label, area.y(level.value), level.style) for level in levels if level.label]
    places = spread([y for _, y, _ in ends], FONT_SIZE + 1, area.top, area.bottom)
    room = MAX_LABEL_SHARE * WIDTH
    return [
        text(shorten(label, room), area.right + LABEL_GAP, place + FONT_SIZE * 0.35, class_=f"label {style}")
        for (label, _, style), place in zip(ends, places, strict=True)
    ]


def _coordinates(points: Sequence[Point]) -> str:
    return " ".join(f"{number(x)},{number(y)}" for x, y in points)
