"""Elements of HTML and SVG: everything is escaped because nothing is ever a string of markup."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

Element = ET.Element

#: What XML has no way to write, not even escaped.
_UNWRITABLE = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def element(tag: str, *children: Element | str | None, **attributes: object) -> Element:
    """Return an element with attributes and children, texts among them; ``None`` is left out in both.

    Attribute names come with ``_`` for ``-`` and for what Python has taken (``class_``); numbers are rounded to
    hundredths. Characters that no document may hold become U+FFFD.

    Example:
        >>> to_markup(element("text", "F1 < 80 %", class_="label", x=1.004, text_anchor="end"))
        '<text class="label" x="1" text-anchor="end">F1 &lt; 80 %</text>'
    """
    made = Element(
        tag,
        {
            name.rstrip("_").replace("_", "-"): number(value) if isinstance(value, float) else clean(str(value))
            for name, value in attributes.items()
            if value is not None
        },
    )
    for child in children:
        if isinstance(child, str):
            _append_text(made, clean(child))
        elif child is not None:
            made.append(child)
    return made


def to_markup(tree: Element) -> str:
    """Return the markup, which is XML and HTML at once: each element is closed by a tag of its own."""
    return ET.tostring(tree, encoding="unicode", short_empty_elements=False)


def number(value: float) -> str:
    """Return a coordinate as short text.

    Example:
        >>> number(12.0), number(-0.001), number(3.14159)
        ('12', '0', '3.14')
    """
    text = f"{value:.2f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def clean(text: str) -> str:
    """Return the text with characters that XML cannot hold replaced."""
    return _UNWRITABLE.sub("\N{REPLACEMENT CHARACTER}", text)


def _append_text(parent: Element, text: str) -> None:
    if len(parent):
        parent[-1].tail = (parent[-1].tail or "") + text
    else:
        parent.text = (parent.text or "") + text
