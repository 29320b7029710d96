"""The arms train what they are said to train, and parts and ratios are what they are called; no time is asserted."""

import json
import sys

import pytest
import torch
from safetensors.torch import load_file

from distill.tasks.question_answering.reading import read_examples
from distill.types import UserError

from . import jobs
from .jobs import (
    ARMS,
    REFERENCE,
    choose_windows,
    ratios,
    run,
    run_job,
    squad_document,
    summarise,
    whole_job,
    write_models,
)
from .training import CannotRunError
from .whole.__main__ import main as run_arm
from .whole.job import Job, Laps, Settings

SMALL = Settings(max_length=96, doc_stride=8, batch_size=8, num_epochs=1)
SIZES = {"layers": (2, 4), "width": 16, "num_heads": 2, "vocab_size": 300}


@pytest.fixture
def folder(tmp_path, squad_file):
    examples, _ = read_examples([squad_file])
    texts = [text for example in examples for text in (example.question, example.context)]
    tokenizer = write_models(tmp_path, texts, None, **SIZES)
    chosen, _ = choose_windows(examples, tokenizer, 10, SMALL)
    (tmp_path / "train.json").write_text(json.dumps(squad_document(chosen)), encoding="utf-8")
    (tmp_path / "settings.json").write_text(json.dumps(vars(SMALL)), encoding="utf-8")
    return tmp_path


def done(processor, wall):
    return {"processor": whole_job(processor, 10.0), "wall": whole_job(wall, 20.0), "peak_memory": 1}


def test_so_many_windows_are_drawn_and_written_whole(squad_file, tokenizer, tmp_path):
    examples, _ = read_examples([squad_file])
    chosen, lengths = choose_windows(examples, tokenizer, 5, SMALL)
    assert 5 <= len(lengths) <= 6
    assert 0 < max(lengths) <= 96
    assert choose_windows(examples, tokenizer, 5, SMALL) == (chosen, lengths)
    file = tmp_path / "chosen.json"
    file.write_text(json.dumps(squad_document(chosen)), encoding="utf-8")
    assert read_examples([file])[0] == chosen
    assert len(choose_windows(examples, tokenizer, 999, SMALL)[0]) == 18


def test_what_no_part_has_counted_is_the_start():
    assert whole_job({"layers": 3.0, "logits": 2.0}, 6.0) == {"start": 1.0, "layers": 3.0, "logits": 2.0, "total": 6.0}


def test_ratios_are_to_the_reference_with_and_without_the_start():
    found = {REFERENCE: done({"layers": 4.0}, {"layers": 5.0}), "bare.loop": done({"layers": 8.0}, {"layers": 10.0})}
    assert ratios(found)["bare.loop"] == {
        "processor": {"total": 1.0, "without_start": 2.0}, "wall": {"total": 1.0, "without_start": 2.0}
    }  # fmt: skip


def test_ratios_are_taken_within_rounds():
    parts = {"layers": 4.0}
    jobs = {
        REFERENCE: [done(parts, parts), done({"layers": 2.0}, parts), done(parts, parts)],
        "bare.loop": [done({"layers": 8.0}, parts), done({"layers": 8.0}, parts), done({"layers": 8.0}, parts)],
    }
    summary = summarise(jobs)
    ratio = summary["bare.loop"]["ratios"]["processor"]["without_start"]
    assert ratio == {"lower_quartile": 2.0, "median": 2.0, "upper_quartile": 3.0}  # of 2, 4 and 2
    assert summary[REFERENCE]["processor"]["layers"] == 4.0
    assert summary[REFERENCE]["ratios"]["wall"]["total"]["median"] == 1.0


def test_layers_are_the_last_of_each_block(folder):
    job = Job(folder, "own.float32")
    assert (job.layers, job.states) == ([(0, 1), (1, 3)], [(1, 2), (2, 4)])


def test_windows_are_padded_as_in_the_example(folder):
    (first, *_) = windows = Job(folder, "bare.loop").padded_windows()
    assert len(windows) >= 10
    assert {tuple(window["input_ids"].shape) for window in windows} == {(96,)}
    assert first["attention_mask"].sum() < 96


@pytest.mark.parametrize("arm", ["own.float32", pytest.param("own.command", marks=pytest.mark.slow), "bare.loop"])
def test_an_arm_trains_the_student_in_both_stages(folder, arm, capsys, monkeypatch):
    monkeypatch.setattr(torch, "set_num_threads", lambda number: None)
    run_arm(arm, folder)
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    for clock in ("wall", "processor"):
        assert list(found[clock]) == ["preparation", "layers", "logits", "saving"]
    before, after = (load_file(folder / name / "model.safetensors") for name in ("student", arm))
    assert before.keys() == after.keys()
    assert not torch.equal(before["qa_outputs.weight"], after["qa_outputs.weight"])
    first_layer = "roberta.encoder.layer.0.attention.self.query.weight"
    assert not torch.equal(before[first_layer], after[first_layer])


def test_a_part_counts_from_the_end_of_the_one_before(monkeypatch):
    now = iter((0.0, 2.0, 7.0, 8.0))
    monkeypatch.setattr("time.perf_counter", lambda: next(now))
    laps = Laps()
    for part in ("layers", "logits", "layers"):
        laps.end(part)
    assert laps.wall == {"layers": 3.0, "logits": 5.0}


@pytest.mark.slow
def test_a_job_is_a_process_of_its_own(folder):
    found = run_job("bare.loop", sys.executable, folder)
    assert list(found["wall"]) == ["start", "preparation", "layers", "logits", "saving", "total"]
    assert all(found[clock]["start"] > 0 for clock in ("wall", "processor"))
    assert found["peak_memory"] > 0


def test_an_arm_that_breaks_says_why(tmp_path):
    with pytest.raises(CannotRunError, match="exit code 1"):
        run_job("bare.loop", "false", tmp_path)


def test_arms_that_break_are_named_and_the_others_compared(squad_file, tmp_path, monkeypatch, capsys):
    turns = []

    def job(arm, python, folder):
        turns.append(arm)
        if arm == "bare.loop":
            raise CannotRunError("no memory")
        assert not (folder / arm).exists()
        assert python == ("peers/python" if arm.startswith("peers.") else sys.executable)
        write_student(folder / arm, folder)
        return done(dict.fromkeys(("preparation", "layers", "logits", "saving"), 1.0), {"layers": 5.0})

    def write_student(target, folder):
        target.mkdir()
        for file in (folder / "student").iterdir():
            (target / file.name).write_bytes(file.read_bytes())

    monkeypatch.setattr(jobs, "run_job", job)
    output = tmp_path / "jobs.json"
    sizes = {"num_layers": (1, 2), "width": 16, "num_heads": 2, "vocab_size": 300}
    run(str(squad_file), str(output), 5, str(squad_file), 6, rounds=2, settings=SMALL, peers="peers/python", **sizes)
    result = json.loads(output.read_text(encoding="utf-8"))
    assert result["left_out"]["bare.loop"] == "no memory"
    assert result["left_out"].keys() == {"bare.loop"}
    assert set(result["scores"][REFERENCE]) == {"exact_match", "f1"}
    first = [arm for arm in ARMS.values() if arm in turns]
    assert turns == [*first, *(arm for arm in reversed(first) if arm != "bare.loop")]
    assert {arm: len(found) for arm, found in result["jobs"].items()} == dict.fromkeys(result["summary"], 2)
    assert "left out: no memory" in capsys.readouterr().out
    with pytest.raises(UserError, match="arms must include"):
        run(str(squad_file), arms=["modelopt"])
    assert set(ARMS.values()) >= set(result["jobs"])


def test_a_benchmark_that_is_stopped_leaves_the_rounds_that_are_done(squad_file, tmp_path, monkeypatch):
    turns = []

    def job(arm, python, folder):
        turns.append(arm)
        if len(turns) == 2:
            raise KeyboardInterrupt
        return done(dict.fromkeys(("preparation", "layers", "logits", "saving"), 1.0), {"layers": 5.0})

    monkeypatch.setattr(jobs, "run_job", job)
    output = tmp_path / "jobs.json"
    sizes = {"num_layers": (1, 2), "width": 16, "num_heads": 2, "vocab_size": 300}
    with pytest.raises(KeyboardInterrupt):
        run(str(squad_file), str(output), 5, arms=["distill, float32"], rounds=2, settings=SMALL, **sizes)
    result = json.loads(output.read_text(encoding="utf-8"))
    assert (result["rounds"], list(result["summary"]), len(result["jobs"][REFERENCE])) == (1, [REFERENCE], 1)
