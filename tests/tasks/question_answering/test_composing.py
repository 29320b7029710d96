import unicodedata

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from distill.tasks.question_answering.composing import compose

AWKWARD = st.text(
    st.one_of(
        st.sampled_from(
            "aeounñáé \u0301\u0303\u0308\u0323\u0327\u200b\u200d\ufeff\u212b\u0344\u0f73\u0f71\u09c7\u09be"
        ),
        st.sampled_from("각\u1100\u1161\u11a8가👩‍👧🏽🇪🇸"),
        st.characters(exclude_categories=["Cs"]),
    ),
    max_size=30,
)


@pytest.mark.parametrize(
    ("text", "expected", "spans"),
    [
        ("", "", []),
        ("año", "año", [(0, 1), (1, 2), (2, 3)]),
        ("an\u0303o", "año", [(0, 1), (1, 3), (3, 4)]),
        ("\u1100\u1161\u11a8", "각", [(0, 3)]),
        ("\u212b", "Å", [(0, 1)]),
        ("e\u0301 👩‍👧", "é 👩‍👧", [(0, 2), (2, 3), (3, 4), (4, 5), (5, 6)]),
        ("a\u0301\u0301b", "á\u0301b", [(0, 3), (0, 3), (3, 4)]),
        ("\ufb2ab", "\u05e9\u05c1b", [(0, 1), (0, 1), (1, 2)]),
    ],
)
def test_characters_keep_their_origin(text, expected, spans):
    composed = compose(text)
    assert composed.text == expected
    assert list(zip(composed.starts, composed.ends, strict=True)) == spans


@settings(max_examples=200)
@given(AWKWARD, st.sampled_from(["NFC", "NFD", None]))
@example("\ufb2a", None)
@example("a\u0301\u0301", None)
def test_composed_text_is_nfc_and_maps_back(text, form):
    text = unicodedata.normalize(form, text) if form else text
    composed = compose(text)
    assert composed.text == unicodedata.normalize("NFC", text)
    assert len(composed.starts) == len(composed.ends) == len(composed.text)
    # Spans rise and cover the original without gaps; what they hold composes to what they stand for.
    assert composed.original_span(0, len(composed.text)) == (0, len(text))
    place = 0
    for index, (start, end) in enumerate(zip(composed.starts, composed.ends, strict=True)):
        # Characters that are composed of the same ones share their span.
        assert start <= place <= end
        assert start < end
        assert composed.text[index] in unicodedata.normalize("NFC", text[start:end])
        place = max(place, end)
    assert place == len(text)


@settings(max_examples=200)
@given(AWKWARD, st.data())
def test_spans_map_to_text_that_composes_to_them(text, data):
    text = unicodedata.normalize("NFD", text)
    composed = compose(text)
    start = data.draw(st.integers(0, len(composed.text)))
    end = data.draw(st.integers(start, len(composed.text)))
    start_char, end_char = composed.original_span(start, end)
    assert 0 <= start_char <= end_char <= len(text)
    assert composed.text[start:end] in unicodedata.normalize("NFC", text[start_char:end_char])
    if start == end:
        assert start_char == end_char
