from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distill.answering.inputs import Item
from distill.answering.passages import PASSAGE_CHARS, cut, passages, pools


@given(st.text(alphabet="ab \n", max_size=400), st.integers(20, 60), st.integers(2, 16))
def test_cuts_cover_a_text_and_overlap(text, length, overlap):
    spans = list(cut(text, length, overlap))
    assert spans[0][0] == 0
    assert spans[-1][1] == len(text)
    assert all(end - start <= length for start, end in spans)
    for (start, end), (next_start, next_end) in pairwise(spans):
        assert start < next_start < next_end
        assert overlap // 2 <= end - next_start <= overlap
        assert end < next_end


@given(st.text(alphabet="ab \n", min_size=1, max_size=200), st.data())
def test_what_is_shorter_than_half_an_overlap_is_wholly_in_one_cut(text, data):
    start = data.draw(st.integers(0, len(text) - 1))
    end = min(len(text), start + 6)
    assert any(first <= start and end <= last for first, last in cut(text, 40, 12))


def test_cuts_fall_between_words_where_there_are_any():
    text = "palabra " * 20
    spans = list(cut(text, 50, 20))
    assert len(spans) > 2
    assert all(start == 0 or text[start - 1] == " " for start, _ in spans)
    assert all(end == len(text) or text[end - 1] == " " for _, end in spans)


def test_a_text_of_ordinary_length_is_one_passage():
    item = Item("¿Qué?", ("x" * PASSAGE_CHARS,))
    (passage,) = passages([item])
    assert passage.example.context == item.contexts[0]
    assert (passage.context_index, passage.start_char, passage.is_last) == (0, 0, True)


def test_passages_say_where_they_are_from():
    long = "uno dos " * (PASSAGE_CHARS // 6)
    items = [Item("a", ("corto", long)), Item("b", ("otro",))]
    found = list(passages(items))
    assert [passage.context_index for passage in found] == [0, 1, 1, 0]
    assert [passage.is_last for passage in found] == [False, False, True, True]
    assert [passage.example.question_id for passage in found] == ["0", "1", "2", "3"]
    for passage in found:
        context = passage.item.contexts[passage.context_index]
        assert context.startswith(passage.example.context, passage.start_char)
    assert [passage.item for passage in found] == [items[0]] * 3 + [items[1]]


@pytest.mark.parametrize("num_chars", [1, 1000, 10_000])
def test_pools_are_bounded_and_keep_the_order(num_chars):
    stream = list(passages(Item(f"{i}", ("x" * (i % 7) * 100 + "y",)) for i in range(40)))
    grouped = list(pools(stream, num_chars))
    assert [passage for pool in grouped for passage in pool] == stream
    for pool in grouped:
        assert len(pool) == 1 or sum(len(passage.example.context) for passage in pool) <= num_chars
    assert list(pools([], num_chars)) == []
    if num_chars == 10_000:
        assert len(grouped) < 10


def test_pools_are_made_as_they_are_needed():
    taken = []

    def items():
        for index in range(1000):
            taken.append(index)
            yield Item("¿Qué?", ("x" * 1000,))

    next(pools(passages(items()), 10_000))
    assert len(taken) < 12
