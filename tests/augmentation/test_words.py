import pytest
from hypothesis import given
from hypothesis import strategies as st

from distill.augmentation.words import like, overlaps, replace_words, words_of


def texts_of(text):
    return [text[start:end] for start, end in words_of(text)]


def test_words_are_runs_of_letters():
    assert texts_of("¿Cuándo nació «Íñigo», el nº 3?") == ["Cuándo", "nació", "Íñigo", "el", "nº"]


@pytest.mark.parametrize("text", ["3D", "a_b", "man\u0303", "x2", "1.234"])
def test_parts_of_something_else_are_no_words(text):
    assert texts_of(text) == []


@pytest.mark.parametrize(
    ("word", "model", "expected"),
    [("casa", "perro", "casa"), ("casa", "Perro", "Casa"), ("casa", "ONU", "CASA"), ("casa", "A", "Casa")],
)
def test_capitals_are_kept(word, model, expected):
    assert like(word, model) == expected


def test_spans_overlap_where_they_share_a_character():
    assert overlaps((2, 5), [(0, 2), (4, 9)])
    assert not overlaps((2, 5), [(0, 2), (5, 9)])


def test_replaced_by_hand():
    text, spans = replace_words("el perro de Ana come", [((3, 8), "gato"), ((16, 20), "duerme")], [(12, 15)])
    assert text == "el gato de Ana duerme"
    assert spans == [(11, 14)]


@given(st.text("ab ñ1.", max_size=60), st.data())
def test_spans_keep_their_text(text, data):
    words = list(words_of(text))
    chosen = [word for word in words if data.draw(st.booleans())]
    starts = data.draw(st.lists(st.integers(0, len(text)), max_size=4))
    spans = [(start, data.draw(st.integers(start, len(text)))) for start in starts]
    spans = [
        span for span in spans if not any(overlaps(word, [span]) or word[0] < span[0] < word[1] for word in chosen)
    ]
    replacements = [(word, data.draw(st.text("xyz", min_size=1, max_size=5))) for word in chosen]
    new_text, moved = replace_words(text, replacements, spans)
    assert [new_text[start:end] for start, end in moved] == [text[start:end] for start, end in spans]
    assert len(new_text) - len(text) == sum(len(word) - (end - start) for (start, end), word in replacements)
