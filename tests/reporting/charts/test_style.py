"""Colours: enough contrast for text in both schemes, and every class that charts use is styled."""

from __future__ import annotations

import re

import pytest

from distill.reporting.page.document import styles

SCHEMES = [
    dict(re.findall(r"--([\w-]+): (#\w{6})", block)) for block in re.findall(r":root \{(.*?)\}", styles(), re.DOTALL)
]


def luminance(colour: str) -> float:
    """Return the relative luminance of WCAG 2.1."""
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("colours", SCHEMES, ids=["light", "dark"])
def test_every_text_colour_is_legible(colours):
    texts = [name for name in colours if name not in ("page", "card", "rule")]
    assert {"ink", "soft", "student", "teacher", "c1", "c6"} <= set(texts)
    weak = {name: contrast(colours[name], colours[back]) for name in texts for back in ("page", "card")}
    assert min(weak.values()) >= 4.5, weak


def test_both_schemes_define_the_same_colours():
    light, dark = SCHEMES
    assert light.keys() == dark.keys()
