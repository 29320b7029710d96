"""Charts with one row for each group: two models side by side, and shares of a whole."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from distill.reporting.charts.frame import WIDTH, drawing, line, text
from distill.reporting.charts.labels import FONT_SIZE, shorten, text_width
from distill.reporting.charts.markup import Element, element
from distill.reporting.charts.scales import Scale
from distill.reporting.charts.scatter import shape

_ROW = 22.0


@dataclass(frozen=True)
class Row:
    """A group with the student's value and, where there is one, the teacher's.

    Attributes:
        label: Name of the group, on the left.
        student: The student's value.
        teacher: The teacher's value.
        note: Small print after the name, such as how many items the group has.
    """

    label: str
    student: float
    teacher: float | None = None
    note: str = ""


@dataclass(frozen=True)
class Share:
    """A part of a whole: its name, its amount and the class that colours it."""

    label: str
    amount: float
    style: str


def dot_chart(title: str, x_label: str, rows: Sequence[Row], low: float = 0.0, high: float = 100.0) -> Element:
    """Draw a dot for the student and a diamond for the teacher in every row, joined by the gap between them.

    Args:
        title: What the chart shows, in words.
        x_label: Quantity and unit.
        rows: The groups, from the top.
        low: Left end of the axis.
        high: Right end of the axis.
    """
    label_width = min(max((text_width(_name(row)) for row in rows), default=0.0) + 10, WIDTH * 0.45)
    top, bottom = FONT_SIZE + 12, FONT_SIZE + 12 + _ROW * len(rows)
    x = Scale(low, high, label_width, WIDTH - 14)
    parts: list[Element | None] = [_key(rows)]
    for tick in x.ticks(4):
        parts += [
            line(x(tick), top, x(tick), bottom, "grid"),
            text(f"{tick:g}", x(tick), bottom + FONT_SIZE + 2, "middle"),
        ]
    for index, row in enumerate(rows):
        y = top + _ROW * (index + 0.5)
        parts.append(text(shorten(_name(row), label_width - 6), 0.0, y + FONT_SIZE * 0.35))
        parts.append(line(x.start, y, x.end, y, "grid"))
        detail = f"{row.label}: student {row.student:.1f}"
        if row.teacher is not None:
            detail += f", teacher {row.teacher:.1f}"
            parts.append(line(x(row.student), y, x(row.teacher), y, "gap"))
            parts.append(shape("diamond", x(row.teacher), y, "teacher", detail))
        parts.append(shape("circle", x(row.student), y, "student", detail))
    parts.append(text(x_label, (x.start + x.end) / 2, bottom + 2 * FONT_SIZE + 6, "middle", "axis-label"))
    return drawing(title, *parts, height=bottom + 2 * FONT_SIZE + 12)


def share_chart(title: str, shares: Sequence[Share]) -> Element:
    """Draw one bar divided into shares, and a line of text for each with its amount and percentage."""
    total = sum(share.amount for share in shares)
    x = Scale(0.0, max(total, 1.0), 0.0, WIDTH)
    bar_height, done = 26.0, 0.0
    parts = []
    for index, share in enumerate(shares):
        start, done = x(done), done + share.amount
        parts.append(
            element(
                "rect",
                element("title", f"{share.label}: {share.amount:g}"),
                x=start,
                y=0.0,
                width=x(done) - start,
                height=bar_height,
                class_=f"share {share.style}",
            )
        )
        y = bar_height + 12 + _ROW * index
        percent = 100 * share.amount / total if total else 0.0
        parts += [
            element("rect", x=0.0, y=y, width=FONT_SIZE, height=FONT_SIZE, class_=f"share {share.style}"),
            text(share.label, FONT_SIZE + 8, y + FONT_SIZE - 2),
            text(f"{share.amount:,.0f}  ({percent:.1f} %)", WIDTH, y + FONT_SIZE - 2, "end"),
        ]
    return drawing(title, *parts, height=bar_height + 14 + _ROW * len(shares))


def _name(row: Row) -> str:
    return f"{row.label}  {row.note}" if row.note else row.label


def _key(rows: Sequence[Row]) -> Element | None:
    """Return the legend, where there are two models to tell apart."""
    if all(row.teacher is None for row in rows):
        return None
    y, second = FONT_SIZE / 2 + 1, text_width("student") + 40
    return element(
        "g",
        shape("circle", 6.0, y, "student"),
        text("student", 16.0, y + FONT_SIZE * 0.35, class_="label student"),
        shape("diamond", second, y, "teacher"),
        text("teacher", second + 10, y + FONT_SIZE * 0.35, class_="label teacher"),
    )
