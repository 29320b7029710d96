import csv
import json
import re

import pytest

from distill.answering.inputs import Item
from distill.answering.questions import Row, WrongRow, read_rows
from distill.types import UserError
from tests.conftest import squad_document


@pytest.fixture
def read(tmp_path):
    """Return a function that writes a file and reads its rows."""

    def write(name, content):
        file = tmp_path / name
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
        return list(read_rows(file))

    return write


def messages(rows):
    return [row.message for row in rows if isinstance(row, WrongRow)]


def test_json_lines_give_rows_with_their_ids_or_line_numbers(read):
    rows = read(
        "asked.jsonl",
        '\ufeff{"id": "a", "question": "¿Qué?", "context": "Uno."}\n\n'
        '{"question": "¿Qué?", "context": ["Uno.", "Dos."], "other": 1}\r\n'
        '{"id": 7, "question": "¿Qué?", "context": "Tres."}',
    )
    assert rows == [
        Row("a", Item("¿Qué?", ("Uno.",))),
        Row("3", Item("¿Qué?", ("Uno.", "Dos."), True)),
        Row("7", Item("¿Qué?", ("Tres.",))),
    ]


def test_every_wrong_line_is_named_and_the_others_are_read(read):
    good = b'{"question": "q", "context": "c"}'
    lines = [
        good,
        b"{",
        b'{"question": "q"}',
        b'{"question": "", "context": "c"}',
        b"[1]",
        b'{"question": "q", "context": 3}',
        b'{"question": "q", "context": "\xff"}',
        b'{"question": "q", "context": "\\ud800"}',
        b'{"id": true, "question": "q", "context": "c"}',
        b"[" * 100_000,
        b"1" * 5000,
        good,
    ]
    rows = read("asked.jsonl", b"\n".join(lines))
    assert [row.question_id for row in rows if isinstance(row, Row)] == ["1", "12"]
    starts = [message.split(":")[0] for message in messages(rows)]
    assert starts == [f"line {number}" for number in range(2, 12)]
    text = "\n".join(messages(rows))
    for part in (
        *("malformed JSON", "'context' is missing", "question is empty", "expected an object", "must be text"),
        *("not UTF-8", "surrogate", "'id' must be"),
    ):
        assert part in text


@pytest.mark.parametrize(("name", "separator"), [("a.csv", ","), ("a.csv", ";"), ("a.tsv", "\t")])
def test_columns_may_stand_in_any_order_between_common_separators(read, name, separator):
    rows = read(
        name, separator.join(["Context", "x", "ID", "question"]) + f"\nUno.{separator}{separator}7{separator}¿Qué?\n"
    )
    assert rows == [Row("7", Item("¿Qué?", ("Uno.",)))]


def test_rows_over_several_lines_are_numbered_by_their_first(read):
    rows = read("a.csv", 'question,context\n¿Qué?,"Uno\ndos, ""tres""."\n\n¿Qué?,\n¿Qué?,a,b\n¿Quién?,Cuatro.\n')
    assert rows[0] == Row("2", Item("¿Qué?", ('Uno\ndos, "tres".',)))
    assert rows[-1] == Row("7", Item("¿Quién?", ("Cuatro.",)))
    assert messages(rows) == [
        "line 5: context is empty",
        "line 6: 3 fields under 2 names: put texts with separators or line breaks into double quotes",
    ]


def test_a_csv_field_may_be_as_long_as_a_book(read):
    limit = csv.field_size_limit()
    (row,) = read("a.csv", "question,context\n¿Qué?," + "x" * 300_000)
    assert len(row.item.contexts[0]) == 300_000
    assert csv.field_size_limit() == limit, "the limit is the whole process's"


def test_csv_that_is_not_utf8_is_named_by_line(read):
    rows = read("a.csv", b"question,context\nq,c\n\xbfQu\xe9?,c\nq,d\n")
    assert messages(rows) == ["line 3: not UTF-8"]
    assert len(rows) == 3


def test_squad_files_give_their_questions_and_name_what_is_wrong(read):
    document = squad_document(2)
    paragraphs = document["data"][0]["paragraphs"]
    del paragraphs[0]["qas"][0]["question"], paragraphs[0]["qas"][1]["id"]
    paragraphs.append({"context": " ", "qas": []})
    document["data"].append({"title": "x"})
    rows = read("asked.json", json.dumps(document))
    assert [row.question_id for row in rows if isinstance(row, Row)] == ["q-0-2", "q-1-0", "q-1-1", "q-1-2"]
    assert [message.split(" is ")[0] for message in messages(rows)] == [
        "article 0: paragraph 0: question 'q-0-0': 'question'",
        "article 0: paragraph 0: question 1: 'id'",
        "article 0: paragraph 2: 'context'",
        "article 1: 'paragraphs'",
    ]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", "", "a.txt: unknown kind of file: name one that ends in .jsonl, .ndjson, .csv, .tsv, .json"),
        ("a.csv", "", "a.csv: line 1: the header must name question and context"),
        ("a.csv", "pregunta,texto\n", "a.csv: line 1: the header must name question and context"),
        ("a.json", "{", "a.json: malformed JSON"),
        ("a.json", "[]", "a.json: expected an object with 'data'"),
    ],
)
def test_a_file_that_is_something_else_is_named(read, name, content, message):
    with pytest.raises(UserError, match=re.escape(message)):
        read(name, content)


@pytest.mark.parametrize("name", ["a.jsonl", "a.csv", "a.json"])
def test_a_missing_file_is_named(tmp_path, name):
    with pytest.raises(UserError, match="no such file"):
        list(read_rows(tmp_path / name))


def test_a_folder_is_no_file(tmp_path):
    (tmp_path / "a.jsonl").mkdir()
    with pytest.raises(UserError, match="cannot be read"):
        list(read_rows(tmp_path / "a.jsonl"))


def test_lines_are_read_as_they_are_needed(tmp_path):
    file = tmp_path / "a.jsonl"
    file.write_bytes(b'{"question": "q", "context": "c"}\n' * 100_000)
    rows = read_rows(file)
    next(rows)
    file.write_bytes(b"")
    assert sum(1 for _ in rows) < 10_000
