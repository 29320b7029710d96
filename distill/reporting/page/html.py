"""The few kinds of blocks that the page is made of."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from distill.reporting.charts.markup import Element, element


def section(title: str, *blocks: Element | None) -> Element | None:
    """Return a section under a heading; nothing if no block is left."""
    kept = [block for block in blocks if block is not None]
    return element("section", element("h2", title), *kept) if kept else None


def figure(title: str, chart: Element, note: str = "", *more: Element) -> Element:
    """Return a chart with its title above and a note below."""
    caption = element("p", note, class_="note") if note else None
    return element("figure", element("figcaption", title), chart, caption, *more)


def captioned(title: str, block: Element) -> Element:
    """Return a block under a title, to stand beside figures."""
    return element("figure", element("figcaption", title), block)


def grid(parts: Iterable[Element | None], class_: str) -> Element | None:
    """Return figures or cards beside one another; nothing if there is none."""
    kept = [part for part in parts if part is not None]
    return element("div", *kept, class_=class_) if kept else None


def table(header: Sequence[str], rows: Iterable[Sequence[str | Element]], class_: str | None = None) -> Element:
    """Return a table whose first column names the rows; it scrolls by itself where the page is too narrow."""
    head = element("tr", *(element("th", name, scope="col") for name in header))
    body = [
        element("tr", element("th", row[0], scope="row"), *(element("td", cell) for cell in row[1:])) for row in rows
    ]
    return element(
        "div",
        element("table", element("thead", head), element("tbody", *body), class_=class_),
        class_="scroll",
        tabindex=0,
    )


def details(summary: str, *blocks: Element) -> Element:
    """Return blocks that are folded away until asked for."""
    return element("details", element("summary", summary), *blocks)


def facts(pairs: Mapping[str, Any]) -> Element:
    """Return names and values in two columns; what is not known is left out."""
    entries = []
    for name, value in pairs.items():
        if value is not None:
            entries += [element("dt", name), element("dd", str(value))]
    return element("dl", *entries)
