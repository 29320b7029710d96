import json

import pytest

from distill.answering.output import AnswerFile
from distill.types import UserError

MADE_WITH = {"model": "a", "sizes": (1, 2)}


def lines(path):
    return [json.loads(line)["id"] for line in path.read_text(encoding="utf-8").splitlines()]


def test_a_whole_file_takes_its_name_and_leaves_nothing_else(tmp_path):
    answers = AnswerFile(tmp_path / "new" / "out.jsonl")
    assert list(answers.begin(MADE_WITH)) == []
    with answers:
        answers.write({"id": "1", "answer": "Cádiz"})
        assert not answers.path.exists()
    assert answers.path.read_text(encoding="utf-8") == '{"id": "1", "answer": "Cádiz"}\n'
    assert list(answers.path.parent.iterdir()) == [answers.path]


def break_off(path, *question_ids):
    """Write some lines and fail."""
    answers = AnswerFile(path)
    answers.begin(MADE_WITH)
    with answers:
        for question_id in question_ids:
            answers.write({"id": question_id})
        raise RuntimeError("killed")


@pytest.fixture
def half(tmp_path):
    """A file that was broken off after two lines."""
    with pytest.raises(RuntimeError, match="killed"):
        break_off(tmp_path / "out.jsonl", "1", "2")
    return tmp_path / "out.jsonl"


def test_a_half_written_file_goes_on_after_its_last_whole_line(half):
    assert not half.exists()
    answers = AnswerFile(half)
    with answers.partial.open("ab") as file:
        file.write(b'{"id": "3", "ans')
    assert list(answers.begin(MADE_WITH)) == ["1", "2"]
    with answers:
        answers.write({"id": "3"})
    assert lines(answers.path) == ["1", "2", "3"]


def test_lines_are_on_disk_at_once(tmp_path):
    answers = AnswerFile(tmp_path / "out.jsonl")
    answers.begin(MADE_WITH)
    with answers:
        answers.write({"id": "1"})
        assert lines(answers.partial) == ["1"]


def test_a_file_begun_with_something_else_is_not_mixed(half):
    with pytest.raises(UserError, match="was begun with another model"):
        AnswerFile(half).begin({**MADE_WITH, "model": "b"})
    half.with_name("out.jsonl.partial.json").unlink()
    with pytest.raises(UserError, match="was begun with another"):
        AnswerFile(half).begin(MADE_WITH)


@pytest.mark.parametrize("line", [b"\0\0\0", b"[1]", b'{"answer": "x"}', b"\xff"])
def test_a_damaged_line_is_named(half, line):
    answers = AnswerFile(half)
    with answers.partial.open("ab") as file:
        file.write(line + b"\n")
    with pytest.raises(UserError, match=r"out\.jsonl\.partial: line 3 is damaged: begin again with --overwrite true"):
        list(answers.begin(MADE_WITH))


def test_overwriting_begins_again(half):
    half.write_text("old", encoding="utf-8")
    with pytest.raises(UserError, match=r"out\.jsonl exists already; name another file or add --overwrite true"):
        AnswerFile(half)
    answers = AnswerFile(half, overwrite=True)
    assert list(answers.begin({"model": "b"})) == []
    assert half.read_text(encoding="utf-8") == "old"
    with answers:
        answers.write({"id": "9"})
    assert lines(half) == ["9"]
    assert list(half.parent.iterdir()) == [half]


def test_numbers_that_json_lacks_are_refused(tmp_path):
    answers = AnswerFile(tmp_path / "out.jsonl")
    answers.begin({})
    with answers, pytest.raises(ValueError, match="JSON"):
        answers.write({"id": "1", "score": float("nan")})
