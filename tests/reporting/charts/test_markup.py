"""Elements: escaping, attributes, numbers."""

from __future__ import annotations

import xml.etree.ElementTree as ET

from hypothesis import given
from hypothesis import strategies as st

from distill.reporting.charts.markup import element, number, to_markup


@given(st.text(), st.text())
def test_any_text_becomes_well_formed_and_comes_back(content, attribute):
    tree = ET.fromstring(to_markup(element("p", content, "!", element("b", content), content, title=attribute)))
    if all(character.isprintable() for character in content + attribute):
        assert tree.text == content + "!"
        assert tree[0].text == (content or None)
        assert tree[0].tail == (content or None)
        assert tree.get("title") == attribute


def test_what_no_document_may_hold_is_replaced():
    assert to_markup(element("p", "a\x00\x07\ud800b")) == "<p>a\ufffd\ufffd\ufffdb</p>"


def test_nothing_is_left_out_and_every_element_has_an_end_tag():
    assert to_markup(element("g", None, element("rect", width=2.5, class_="x", style=None))) == (
        '<g><rect width="2.5" class="x"></rect></g>'
    )


def test_numbers_are_short():
    assert [number(value) for value in (1.0, 2.504, -0.001, 100.0, -3.456)] == ["1", "2.5", "0", "100", "-3.46"]
