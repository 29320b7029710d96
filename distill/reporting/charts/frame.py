"""What charts have in common: the drawing, two axes with ticks and units, and the stages of a run above them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from distill.reporting.charts.labels import FONT_SIZE, shorten, text_width
from distill.reporting.charts.markup import Element, element
from distill.reporting.charts.scales import Scale, tick_labels

#: A chart's natural size in pixels: fits a telephone in full size, and three beside one another on a desktop.
WIDTH, HEIGHT = 380.0, 250.0

#: Between the right edge of the area and the labels beside it.
LABEL_GAP = 9.0

#: The most of a chart's width that these labels take; longer ones are cut.
MAX_LABEL_SHARE = 0.35

_LINE = FONT_SIZE + 3
_TICK = 4.0


@dataclass(frozen=True)
class Axis:
    """One axis: what it shows with its unit, and from where to where.

    Attributes:
        label: Quantity and unit.
        low: Lowest value that has a place.
        high: Highest value that has a place; more than ``low``.
        is_log: Whether it is logarithmic; both bounds are then more than 0.
        ticks: Values to mark; round ones where left out.
    """

    label: str
    low: float
    high: float
    is_log: bool = False
    ticks: Sequence[float] | None = None


@dataclass(frozen=True)
class Span:
    """A named part of the x axis, such as a stage of the run."""

    label: str
    start: float
    end: float


@dataclass(frozen=True)
class Frame:
    """The area of a chart that data is drawn in, with its axes already drawn.

    Attributes:
        x: From values to pixels, left to right.
        y: From values to pixels, upwards.
        elements: The axes.
    """

    x: Scale
    y: Scale
    elements: tuple[Element, ...]

    @property
    def left(self) -> float:
        """Pixel of the left edge."""
        return self.x.start

    @property
    def right(self) -> float:
        """Pixel of the right edge."""
        return self.x.end

    @property
    def top(self) -> float:
        """Pixel of the upper edge."""
        return self.y.end

    @property
    def bottom(self) -> float:
        """Pixel of the lower edge."""
        return self.y.start


def drawing(title: str, *children: Element | None, width: float = WIDTH, height: float = HEIGHT) -> Element:
    """Return the SVG element around a chart; ``title`` is what a screen reader says of it."""
    return element(
        "svg",
        *children,
        xmlns="http://www.w3.org/2000/svg",
        viewBox=f"0 0 {width:g} {height:g}",
        role="img",
        aria_label=title,
        class_="chart",
        style=f"max-width: {width * 1.15:g}px",
    )


def text(content: str, x: float, y: float, anchor: str = "start", class_: str | None = None) -> Element:
    """Return a text whose baseline begins, is centred or ends at a point."""
    return element("text", content, x=x, y=y, text_anchor=None if anchor == "start" else anchor, class_=class_)


def line(x1: float, y1: float, x2: float, y2: float, class_: str) -> Element:
    """Return a straight line."""
    return element("line", x1=x1, y1=y1, x2=x2, y2=y2, class_=class_)


def frame(
    x_axis: Axis,
    y_axis: Axis,
    spans: Sequence[Span] = (),
    right_labels: Sequence[str] = (),
    width: float = WIDTH,
    height: float = HEIGHT,
) -> Frame:
    """Lay out the area of a chart and draw its axes, grid lines and spans.

    Args:
        x_axis: The axis below.
        y_axis: The axis on the left; its label stands above it.
        spans: Parts of the x axis, named above the area and divided by rules.
        right_labels: Texts that will stand to the right of the area, for which room is left.
        width: Of the whole chart.
        height: Of the whole chart.
    """
    top = _LINE * (2 if spans else 1) + 6
    bottom = height - 2 * _LINE - 6
    y = Scale(y_axis.low, y_axis.high, bottom, top, y_axis.is_log)
    y_ticks = list(y_axis.ticks if y_axis.ticks is not None else y.ticks(5))
    y_names = tick_labels(y_ticks)
    left = max(map(text_width, y_names), default=0.0) + _TICK + 4
    labels_width = max((text_width(label) + 2 for label in right_labels), default=0.0)
    right = width - LABEL_GAP - min(labels_width, MAX_LABEL_SHARE * width)
    x = Scale(x_axis.low, x_axis.high, left, right, x_axis.is_log)
    x_ticks = list(x_axis.ticks if x_axis.ticks is not None else x.ticks(max(4, round((right - left) / 70))))
    elements = [text(shorten(y_axis.label, width), 0.0, FONT_SIZE, class_="axis-label")]
    for tick, name in zip(y_ticks, y_names, strict=True):
        elements += [
            line(left, y(tick), right, y(tick), "grid"),
            text(name, left - _TICK - 2, y(tick) + FONT_SIZE * 0.35, "end"),
        ]
    elements.append(line(left, bottom, right, bottom, "axis"))
    elements += _x_ticks(x, x_ticks, bottom, width)
    label = shorten(x_axis.label, width)
    # Centred below the area, but never beyond the edge of the chart.
    middle = min((left + right) / 2, width - text_width(label) / 2)
    elements.append(text(label, max(middle, text_width(label) / 2), height - 4, "middle", "axis-label"))
    elements += _spans(spans, x, top, bottom)
    return Frame(x, y, tuple(elements))


def _x_ticks(x: Scale, ticks: Sequence[float], bottom: float, width: float) -> list[Element]:
    """Return marks below the axis with their labels, as far as these do not touch the one before."""
    elements, free = [], 0.0
    for tick, name in zip(ticks, tick_labels(ticks), strict=True):
        half = text_width(name) / 2
        middle = min(max(x(tick), half), width - half)
        elements.append(line(x(tick), bottom, x(tick), bottom + _TICK, "axis"))
        if middle - half >= free:
            elements.append(text(name, middle, bottom + _TICK + FONT_SIZE, "middle"))
            free = middle + half + 4
    return elements


def _spans(spans: Sequence[Span], x: Scale, top: float, bottom: float) -> list[Element]:
    elements = []
    for index, span in enumerate(spans):
        start, end = x(span.start), x(span.end)
        if index > 0:
            elements.append(line(start, top - _LINE, start, bottom, "switch"))
        if label := shorten(span.label, end - start - 6):
            elements.append(text(label, start + 3, top - 5, class_="span-label"))
    return elements
