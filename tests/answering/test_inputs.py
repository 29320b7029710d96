import re
from collections import UserDict

import datasets
import pytest

from distill.answering.inputs import Item, read_input, read_item
from distill.types import UserError

ONE = {"question": "¿Quién?", "context": "Ana."}


@pytest.mark.parametrize(
    ("question", "context", "form", "items"),
    [
        ("¿Quién?", "Ana.", "one", [Item("¿Quién?", ("Ana.",))]),
        ("¿Quién?", ["Ana.", "Eva."], "one", [Item("¿Quién?", ("Ana.", "Eva."), True)]),
        ("¿Quién?", ["Ana."], "one", [Item("¿Quién?", ("Ana.",), True)]),
        (["¿Quién?", "¿Qué?"], "Ana.", "list", [Item("¿Quién?", ("Ana.",)), Item("¿Qué?", ("Ana.",))]),
        (
            ("¿Quién?", "¿Qué?"),
            ("Ana.", ["B.", "C."]),
            "list",
            [Item("¿Quién?", ("Ana.",)), Item("¿Qué?", ("B.", "C."), True)],
        ),
        (ONE, None, "one", [Item("¿Quién?", ("Ana.",))]),
        (UserDict(ONE), None, "one", [Item("¿Quién?", ("Ana.",))]),
        ([ONE], None, "list", [Item("¿Quién?", ("Ana.",))]),
        ([], None, "list", []),
        ([], "Ana.", "list", []),
        (iter([ONE]), None, "iterator", [Item("¿Quién?", ("Ana.",))]),
        (datasets.Dataset.from_list([ONE]), None, "iterator", [Item("¿Quién?", ("Ana.",))]),
        ([Item("¿Qué?", ("x",))], None, "list", [Item("¿Qué?", ("x",))]),
    ],
)
def test_every_form_becomes_items(question, context, form, items):
    asked = read_input(question, context)
    assert asked.form == form
    assert list(asked.items) == items


@pytest.mark.parametrize(
    ("question", "context", "message"),
    [
        ("¿Quién?", None, "a question needs a context"),
        (["¿Quién?"], ["Ana.", "Eva."], "1 questions need as many contexts or one for all, got 2"),
        (["¿Quién?"], 3, "context must be text or a list, got a value of type int"),
        (3, "Ana.", "question must be text or a list of texts beside a context, got a value of type int"),
        (3, None, "question must be text, items with question and context, or an iterable"),
        ("¿Quién?", 3, "context must be text or a list of texts, got a value of type int"),
        ("¿Quién?", b"Ana", "context must be text"),
        ("¿Quién?", [], "the list of contexts is empty"),
        ("¿Quién?", ["Ana.", None], "context must be text, got nothing"),
        ("  ", "Ana.", "question is empty"),
        ("¿Quién?", "\n", "context is empty"),
        ("¿Quién?", "\ud800", "context holds half of a surrogate pair"),
        ([ONE, {"question": "¿Qué?"}], None, "item 1: 'context' is missing"),
        ([ONE, {"question": None, "context": "x"}], None, "item 1: 'question' is missing"),
        ([ONE, "¿Qué?"], None, "item 1: expected an object with 'question' and 'context', got a value of type str"),
        (["¿Quién?", 3], "Ana.", "item 1: question must be text, got a value of type int"),
    ],
)
def test_wrong_input_is_named(question, context, message):
    with pytest.raises(UserError, match="^" + re.escape(message)):
        read_input(question, context)


def test_an_iterator_is_read_as_it_is_needed():
    def endless():
        while True:
            yield ONE

    items = read_input(endless()).items
    assert next(items) == next(items) == Item("¿Quién?", ("Ana.",))


def test_an_item_passes_as_it_is():
    item = Item("¿Qué?", ("x",))
    assert read_item(item) is item
