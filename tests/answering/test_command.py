import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from distill import QuestionAnswerer
from distill.answering import command
from distill.cli import main
from tests.answering.conftest import CONTEXT


@pytest.fixture
def asked(tmp_path):
    file = tmp_path / "asked.jsonl"
    lines = [{"id": f"q{i}", "question": f"¿Dónde nació {i}?", "context": CONTEXT * (1 + i % 3)} for i in range(20)]
    file.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines), encoding="utf-8")
    return file


@pytest.fixture
def run(teacher_folder, asked, tmp_path):
    """Return a function that runs the command and gives its lines."""

    def run_(*options, source=asked):
        target = tmp_path / "answers.jsonl"
        main(["answer", f"--model={teacher_folder}", f"--input={source}", f"--output={target}", *options])
        return [json.loads(line) for line in target.read_text(encoding="utf-8").splitlines()]

    return run_


def test_every_question_gets_a_line_in_order(run, teacher_folder, asked, capsys):
    records = run()
    assert [record["id"] for record in records] == [f"q{i}" for i in range(20)]
    assert all(set(record) == {"id", "question", "answer", "score", "start", "end"} for record in records)
    answerer = QuestionAnswerer.from_pretrained(str(teacher_folder))
    for record, line in zip(records, asked.read_text(encoding="utf-8").splitlines(), strict=True):
        context = json.loads(line)["context"]
        assert record["answer"] == context[record["start"] : record["end"]]
        assert record["answer"] == answerer(record["question"], context)["answer"]
    assert "answers.jsonl: 20 answers" in capsys.readouterr().err


def test_alternatives_and_several_contexts_are_written_too(run, tmp_path):
    source = tmp_path / "several.jsonl"
    source.write_text(json.dumps({"question": "¿Dónde?", "context": [CONTEXT, "Otra cosa."]}), encoding="utf-8")
    (record,) = run("--top_k=3", "--no_answer_threshold=null", source=source)
    assert record["id"] == "1"
    assert record["context_index"] in (0, 1)
    assert len(record["alternatives"]) == 2
    assert all(other["score"] <= record["score"] for other in record["alternatives"])


def test_wrong_rows_are_listed_counted_and_left_out(run, asked, tmp_path, capsys):
    lines = asked.read_text(encoding="utf-8").splitlines()[:3]
    asked.write_text("\n".join([lines[0], "{", lines[1], *["[]"] * 30, lines[2]]), encoding="utf-8")
    with pytest.raises(SystemExit) as exit_info:
        run()
    assert exit_info.value.code == 1
    said = capsys.readouterr().err
    assert f"{asked}: line 2: malformed JSON" in said
    assert f"{asked}: line 4: expected an object" in said
    assert "line 24:" not in said
    assert "and 11 more wrong rows" in said
    assert said.strip().endswith(f"error: {asked}: 31 of 34 rows are wrong and were left out")
    written = (tmp_path / "answers.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["id"] for line in written] == ["q0", "q1", "q2"]


def no_model(monkeypatch):
    monkeypatch.setattr(QuestionAnswerer, "from_pretrained", lambda *_, **__: pytest.fail("a model was loaded"))


def test_strict_ends_before_a_model_is_loaded(run, asked, tmp_path, capsys, monkeypatch):
    no_model(monkeypatch)
    with asked.open("a", encoding="utf-8") as file:
        file.write("{}\n")
    with pytest.raises(SystemExit) as exit_info:
        run("--strict=true")
    assert exit_info.value.code == 1
    assert "1 wrong rows: correct them" in capsys.readouterr().err
    assert not (tmp_path / "answers.jsonl").exists()


def test_an_older_output_and_a_missing_input_are_named_before_a_model_is_loaded(run, tmp_path, capsys, monkeypatch):
    no_model(monkeypatch)
    with pytest.raises(SystemExit):
        run(source=tmp_path / "absent.jsonl")
    assert "absent.jsonl: no such file" in capsys.readouterr().err
    (tmp_path / "answers.jsonl").write_text("old", encoding="utf-8")
    with pytest.raises(SystemExit):
        run()
    assert "exists already; name another file or add --overwrite true" in capsys.readouterr().err


def test_the_input_is_never_replaced(run, asked, tmp_path, capsys, monkeypatch):
    no_model(monkeypatch)
    before = asked.read_bytes()
    (tmp_path / "answers.jsonl").symlink_to(asked)
    with pytest.raises(SystemExit):
        run("--overwrite=true")
    assert "that is the input: name another file" in capsys.readouterr().err
    assert asked.read_bytes() == before


@pytest.mark.parametrize("option", ["--bogus=1", "--top_k=x", "--backend=rust", "--no_answer_threshold=high"])
def test_a_wrong_option_ends_with_code_2_and_one_line(run, option, capsys, monkeypatch):
    no_model(monkeypatch)
    with pytest.raises(SystemExit) as exit_info:
        run(option)
    assert exit_info.value.code == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert lines[-1].startswith("error: ")
    assert len(lines) <= 2


@pytest.fixture
def broken_off(run, monkeypatch, capsys):
    """What a run said that was stopped after seven answers."""
    record = command._record
    num_records = 0

    def breaking(*arguments):
        nonlocal num_records
        num_records += 1
        if num_records > 7:
            raise KeyboardInterrupt
        return record(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(command, "_record", breaking)
        with pytest.raises(SystemExit) as exit_info:
            run()
    assert exit_info.value.code == 130
    return capsys.readouterr().err


def test_a_run_that_broke_off_goes_on_and_ends_the_same(run, broken_off, tmp_path, capsys):
    assert "the same command goes on from there" in broken_off
    partial = tmp_path / "answers.jsonl.partial"
    begun = partial.read_bytes()
    with partial.open("ab") as file:
        file.write(b'{"id": "q7", "que')
    continued = run()
    assert "going on after 7 answers" in capsys.readouterr().err
    assert (tmp_path / "answers.jsonl").read_bytes().startswith(begun)
    for record, other in zip(continued, run("--overwrite=true"), strict=True):
        assert record.pop("score") == pytest.approx(other.pop("score"), abs=1e-4)
        assert record == other


@pytest.mark.parametrize("what", ["questions", "settings"])
def test_a_half_written_output_of_something_else_is_not_continued(run, broken_off, tmp_path, capsys, what):
    partial = tmp_path / "answers.jsonl.partial"
    if what == "questions":
        partial.write_bytes(partial.read_bytes().replace(b'"q1"', b'"other"'))
        message = "line 2 answers question 'other', which is not there in the input: begin again with --overwrite true"
    else:
        message = "was begun with another top_k: go on with it, or begin again with --overwrite true"
    with pytest.raises(SystemExit):
        run(*(["--top_k=2"] if what == "settings" else []))
    assert message in capsys.readouterr().err


@pytest.mark.slow
def test_a_killed_run_goes_on(teacher_folder, tmp_path):
    source, target = tmp_path / "asked.jsonl", tmp_path / "answers.jsonl"
    line = json.dumps({"question": "¿Dónde nació?", "context": CONTEXT * 4})
    source.write_text("\n".join([line] * 4_000), encoding="utf-8")
    train = Path(__file__).parents[2] / "train.py"
    arguments = [
        sys.executable,
        train,
        "answer",
        f"--model={teacher_folder}",
        f"--input={source}",
        f"--output={target}",
    ]
    process = subprocess.Popen(arguments)
    partial = tmp_path / "answers.jsonl.partial"
    while not (partial.exists() and partial.stat().st_size):
        assert process.poll() is None
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not target.exists()
    subprocess.run(arguments, check=True)
    ids = [json.loads(line)["id"] for line in target.read_text(encoding="utf-8").splitlines()]
    assert ids == [str(number) for number in range(1, 4_001)]
    assert not partial.exists()
