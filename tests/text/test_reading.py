import gzip
import json
import tracemalloc

import pytest

from distill.text import reading
from distill.text.reading import read_documents
from distill.text.report import TextReport
from distill.types import UserError


def read(file, content: str | bytes, **settings) -> tuple[list[str], TextReport]:
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    report = TextReport()
    return list(read_documents([file], report, **settings)), report


@pytest.fixture
def file(tmp_path):
    return tmp_path / "text.txt"


@pytest.fixture
def short_documents(monkeypatch):
    monkeypatch.setattr(reading, "MAX_DOCUMENT_CHARS", 40)


def test_a_name_in_capitals_says_that_a_file_holds_json_lines(tmp_path):
    assert read(tmp_path / "A.JSONL", '{"text": "uno"}')[0] == ["uno"]


@pytest.mark.parametrize(
    ("separator", "documents"),
    [
        ("blank_lines", ["uno\n\ndos", "tres\ncuatro"]),
        ("line", ["uno", "dos", "tres", "cuatro"]),
        ("file", ["uno\n\ndos\n\n \t\n\ntres\ncuatro"]),
    ],
)
def test_documents_end_at_the_separator(file, separator, documents):
    found, report = read(file, "\n\nuno\n\ndos\n\n \t\n\ntres\ncuatro\n\n\n", separator=separator)
    assert found == documents
    assert (report.files, report.documents, report.characters) == (1, len(documents), sum(map(len, documents)))


def test_line_ends_and_byte_order_mark_leave_nothing(file):
    found, _ = read(file, b"\xef\xbb\xbfuno\r\n\r\n\r\ndos\rtres\r\n")
    assert found == ["uno", "dos\ntres"]


def test_json_lines_give_the_named_field(tmp_path):
    rows = [{"text": "uno", "body": "A"}, {"text": " ", "body": "B"}, {"text": None, "body": "C\n\n\nD"}]
    content = "\n".join(json.dumps(row) for row in rows) + "\n\n"
    found, report = read(tmp_path / "rows.jsonl", content)
    assert (found, report.empty_documents) == (["uno"], 2)
    packed = gzip.compress(content.encode())
    assert read(tmp_path / "rows.jsonl.gz", packed, text_field="body")[0] == ["A", "B", "C\n\n\nD"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", r"rows\.jsonl: line 2: malformed JSON"),
        ("[1]", r"rows\.jsonl: line 2: an object with the field 'text' was expected, not list"),
        ('{"body": "uno"}', r"line 2: no field 'text' among 'body'; set text_field"),
        ('{"text": 3}', r"line 2: 'text' holds int, not text"),
    ],
)
def test_malformed_json_lines_are_named(tmp_path, line, message):
    with pytest.raises(UserError, match=message):
        read(tmp_path / "rows.jsonl", '{"text": "uno"}\n' + line)


def test_overlong_json_line_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(reading, "MAX_JSON_CHARS", 20)
    with pytest.raises(UserError, match="line 1 has more than 20 characters"):
        read(tmp_path / "rows.jsonl", json.dumps({"text": "a" * 30}))


def test_bytes_that_are_not_utf8_are_replaced_and_counted(file):
    found, report = read(file, b"ma\xf1ana y \xff\xfe\n\n\nbien")
    assert found == ["ma\N{REPLACEMENT CHARACTER}ana y " + "\N{REPLACEMENT CHARACTER}" * 2, "bien"]
    assert report.invalid_bytes == {str(file): 3}
    assert f"replaced 3 bytes that are not UTF-8 in {file}" in report.describe()


def test_lone_surrogates_in_json_are_replaced_and_counted(tmp_path):
    found, report = read(tmp_path / "rows.jsonl", r'{"text": "uno \ud800 dos \ud83d\ude42"}')
    assert found == ["uno \N{REPLACEMENT CHARACTER} dos 🙂"]
    assert list(report.invalid_bytes.values()) == [1]


def test_strict_refuses_a_single_strange_byte(file):
    with pytest.raises(UserError, match=r"text\.txt: 1 bytes of a document are not UTF-8"):
        read(file, b"ma\xf1ana", strict=True)
    assert read(file, "mañana \N{REPLACEMENT CHARACTER}", strict=True)[1].invalid_bytes == {}


def test_empty_file_is_counted_and_named(tmp_path, file):
    (tmp_path / "empty.txt").touch()
    file.write_text("uno", encoding="utf-8")
    report = TextReport()
    assert list(read_documents([tmp_path / "empty.txt", file], report)) == ["uno"]
    assert report.empty_files == [str(tmp_path / "empty.txt")]
    assert "1 files are empty" in report.describe()[1]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
@pytest.mark.parametrize("name", ["text.txt", "rows.jsonl", "text.txt.gz"])
def test_two_bytes_a_letter_are_another_encoding_not_damage(tmp_path, name, encoding):
    content = json.dumps({"text": "Había una vez. " * 9}, ensure_ascii=False).encode(encoding)
    with pytest.raises(UserError, match=rf"{name}: .*UTF-16 or UTF-32.*convert it to UTF-8"):
        read(tmp_path / name, gzip.compress(content) if name.endswith("gz") else content)


def test_a_null_among_letters_is_no_other_encoding(file):
    assert read(file, "Había una vez\0 y otra")[0] == ["Había una vez\0 y otra"]


@pytest.mark.parametrize("content", [" \n\n\n\t", b"\xef\xbb\xbf"])
def test_file_without_any_text_is_an_error(file, content):
    with pytest.raises(UserError, match=r"text\.txt: no text in it"):
        read(file, content)


def test_only_empty_files_are_an_error(file):
    with pytest.raises(UserError, match=r"text\.txt: empty"):
        read(file, "")


@pytest.mark.parametrize("separator", ["blank_lines", "line", "file"])
def test_overlong_document_is_cut_at_white_space_and_counted(file, short_documents, separator):
    words = [f"palabra{i}" for i in range(40)]
    found, report = read(file, " ".join(words), separator=separator)
    assert [word for document in found for word in document.split()] == words
    assert max(map(len, found)) <= 40
    assert report.cuts == len(found) - 1


def test_overlong_document_of_short_lines_is_cut(file, short_documents):
    words = [f"línea{i}" for i in range(40)]
    found, report = read(file, "\n".join(words))
    assert [word for document in found for word in document.split()] == words
    assert max(map(len, found)) <= 40
    assert report.cuts == len(found) - 1 > 0


def test_line_without_white_space_is_cut_anywhere(file, short_documents):
    found, report = read(file, "ñ" * 100)
    assert "".join(found) == "ñ" * 100
    assert report.cuts == 2


def test_line_of_exactly_the_limit_is_whole(file, short_documents):
    assert read(file, "a" * 40 + "\nb\n")[0] == ["a" * 40, "b"]
    found, report = read(file, "a" * 37 + "\n\n\nb\n")
    assert (found, report.cuts) == (["a" * 37, "b"], 0)


@pytest.mark.parametrize("shape", ["one line", "one document of many lines", "many documents"])
def test_memory_does_not_grow_with_the_file(file, monkeypatch, shape):
    monkeypatch.setattr(reading, "MAX_DOCUMENT_CHARS", 1 << 14)
    line = (
        "Las tierras de pan llevar quedan lejos."
        + {
            "one line": " ",
            "one document of many lines": "\n",
            "many documents": "\n\n\n",
        }[shape]
    )
    file.write_text(line * 50_000, encoding="utf-8")  # 2 MB
    report = TextReport()
    tracemalloc.start()
    total = sum(len(document.replace("\n", " ")) + 1 for document in read_documents([file], report))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert abs(total - 50_000 * 40) < 200
    assert peak < 600_000
