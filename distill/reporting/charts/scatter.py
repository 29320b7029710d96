"""Scatter charts: quality against cost, with the front of the points that nothing beats."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from distill.reporting.charts.frame import Axis, Frame, drawing, frame, line, text
from distill.reporting.charts.labels import FONT_SIZE, text_width
from distill.reporting.charts.lines import LOG_RATIO
from distill.reporting.charts.markup import Element, element, number
from distill.reporting.charts.scales import bounds

#: Half the size of a mark, in pixels.
_RADIUS = 5.0

#: Corners of a mark around its centre, in half sizes; a mark of any other shape is a circle.
_SHAPES: dict[str, tuple[tuple[float, float], ...]] = {
    "diamond": ((0, -1.25), (1.25, 0), (0, 1.25), (-1.25, 0)),
    "square": ((-0.9, -0.9), (0.9, -0.9), (0.9, 0.9), (-0.9, 0.9)),
    "triangle": ((0, -1.2), (1.1, 0.9), (-1.1, 0.9)),
}

Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Mark:
    """One point of a scatter chart.

    Attributes:
        x: Position along x.
        y: Position along y.
        label: Stands beside the mark; empty for none.
        style: Class that colours it.
        shape: ``circle``, ``diamond``, ``square`` or ``triangle``, so that colour is not needed to tell marks apart.
        detail: Tooltip.
    """

    x: float
    y: float
    label: str
    style: str
    shape: str = "circle"
    detail: str = ""


def scatter_chart(
    title: str, x_label: str, y_label: str, marks: Sequence[Mark], front: Sequence[tuple[float, float]] = ()
) -> Element:
    """Draw marks with labels beside them; ``front`` is joined by a staircase.

    The x axis is logarithmic where the largest x is many times the smallest one, and begins at 0 otherwise.
    """
    xs = [mark.x for mark in marks]
    log_x = bool(xs) and min(xs) > 0 and max(xs) / min(xs) >= LOG_RATIO / 4
    x_low, x_high = bounds(xs if log_x else [*xs, 0.0], log_x, margin=0.12)
    y_low, y_high = bounds([mark.y for mark in marks], margin=0.15)
    area = frame(Axis(x_label + (", log scale" if log_x else ""), x_low, x_high, log_x), Axis(y_label, y_low, y_high))
    places = [(area.x(mark.x), area.y(mark.y)) for mark in marks]
    return drawing(
        title,
        *area.elements,
        _staircase(area, front),
        *(_mark(mark, x, y) for mark, (x, y) in zip(marks, places, strict=True)),
        *_labels(area, marks, places),
    )


def shape(name: str, x: float, y: float, style: str, tooltip: str = "", radius: float = _RADIUS) -> Element:
    """Return a mark of a shape around a point."""
    title = element("title", tooltip) if tooltip else None
    class_ = f"mark {style}"
    if name not in _SHAPES:
        return element("circle", title, cx=x, cy=y, r=radius, class_=class_)
    corners = " ".join(f"{number(x + radius * dx)},{number(y + radius * dy)}" for dx, dy in _SHAPES[name])
    return element("polygon", title, points=corners, class_=class_)


def _mark(mark: Mark, x: float, y: float) -> Element:
    return shape(mark.shape, x, y, mark.style, mark.detail or mark.label)


def _staircase(area: Frame, front: Sequence[tuple[float, float]]) -> Element | None:
    if len(front) < 2:
        return None
    steps = [(area.x(front[0][0]), area.y(front[0][1]))]
    for x, y in front[1:]:
        steps += [(area.x(x), steps[-1][1]), (area.x(x), area.y(y))]
    return element("polyline", points=" ".join(f"{number(x)},{number(y)}" for x, y in steps), class_="line front")


def _labels(area: Frame, marks: Sequence[Mark], places: Sequence[tuple[float, float]]) -> list[Element]:
    """Put each label where it hides neither a mark nor another label, if there is such a place around its mark."""
    taken: list[Box] = [(x - _RADIUS, y - _RADIUS, x + _RADIUS, y + _RADIUS) for x, y in places]
    elements = []
    for mark, (x, y) in zip(marks, places, strict=True):
        if not mark.label:
            continue
        # The area's edges are moved inwards rather than crossed.
        boxes = [_inside(area, left, top, text_width(mark.label)) for left, top in _corners(mark.label, x, y)]
        box = next((box for box in boxes if not any(_overlap(box, other) for other in taken)), boxes[0])
        taken.append(box)
        if min(abs(box[1] - y), abs(box[3] - y)) > 2 * FONT_SIZE:  # too far away to be seen as the mark's
            elements.append(line(x, y, min(max(x, box[0]), box[2]), box[3] if box[3] < y else box[1], "leader"))
        elements.append(text(mark.label, box[0], box[3] - 2, class_=f"label {mark.style}"))
    return elements


def _corners(label: str, x: float, y: float) -> list[tuple[float, float]]:
    """Return upper left corners for a label, best first: beside the mark, above and below it, then further away."""
    width, gap = text_width(label), _RADIUS + 4
    corners = [(x + gap, y - FONT_SIZE / 2), (x - gap - width, y - FONT_SIZE / 2)]
    for distance in (gap, gap + 1.5 * FONT_SIZE, gap + 3 * FONT_SIZE, gap + 4.5 * FONT_SIZE):
        for left in (x - width / 2, x - width, x):
            corners += [(left, y - distance - FONT_SIZE), (left, y + distance)]
    return corners


def _inside(area: Frame, left: float, top: float, width: float) -> Box:
    left = max(min(left, area.right - width), area.left + 2)
    top = max(min(top, area.bottom - FONT_SIZE - 2), area.top)
    return left, top, left + width, top + FONT_SIZE


def _overlap(one: Box, other: Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]
