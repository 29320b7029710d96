"""The benchmark evaluates as a run does, and its phases are what they are called; no time is asserted."""

import json

import pytest
import torch

from distill.data.datamodule import SquadDataModule
from distill.metrics.normalize import normalize_mlqa
from distill.models.loading import load_frozen
from distill.tasks.question_answering.task import QuestionAnswering

from . import evaluation
from .evaluation import PHASES, PhaseClock, run, shares, summarise, timed_evaluation


def test_each_phase_is_charged_its_own_time(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(evaluation, "_now", lambda: {"processor": now[0], "wall": 2 * now[0]})
    clock = PhaseClock()
    for phase, seconds in (("forward", 3.0), ("scoring", 1.0), ("forward", 5.0)):
        now[0] += 10.0
        with clock.phase(phase):
            now[0] += seconds
    assert clock.seconds["processor"] == {**dict.fromkeys(PHASES, 0.0), "forward": 8.0, "scoring": 1.0}
    assert clock.seconds["wall"]["forward"] == 16.0


def test_shares_are_those_of_each_pass():
    one = {"batches": 1.0, "forward": 16.0, "logits": 0.0, "decoding": 1.0, "scoring": 2.0}
    expected = {"batches": 0.05, "forward": 0.8, "logits": 0.0, "decoding": 0.05, "scoring": 0.1, "answering": 0.15}
    assert shares(one) == pytest.approx(expected)
    other = {**one, "forward": 36.0}
    summary = summarise([{"processor": seconds, "wall": seconds} for seconds in (one, other)])
    assert summary["processor"]["shares"]["answering"]["median"] == pytest.approx((0.15 + 0.075) / 2)
    assert summary["wall"]["seconds"]["forward"]["median"] == 26.0


def test_the_result_is_that_of_an_evaluation(teacher_folder, squad_file, tmp_path):
    task = QuestionAnswering()
    data = SquadDataModule(
        tokenizer=str(teacher_folder), validation_files=[str(squad_file)], max_length=128, doc_stride=16,
        eval_batch_size=4, cache_dir=str(tmp_path / "windows"),
    )  # fmt: skip
    data.setup("validate")
    model, loader = load_frozen(task, str(teacher_folder)), data.val_dataloader()
    expected = task.evaluation(loader.dataset.examples)
    with torch.inference_mode():
        for batch in loader:
            expected.update(task.logits(model(**batch.inputs)), batch)
    result, seconds = timed_evaluation(model, loader, task)
    assert result == expected.compute()
    normalised = []
    for _ in range(2):
        timed_evaluation(model, loader, task)
        normalised.append(normalize_mlqa.cache_info().misses)
    assert normalised[0] == normalised[1] > 0  # nothing is remembered of the pass before
    assert set(seconds["wall"]) == set(PHASES)
    assert all(value > 0 for value in seconds["wall"].values())


def test_the_command_prints_and_writes_every_model(teacher_folder, squad_file, tmp_path, capsys):
    output = tmp_path / "evaluation.json"
    name = str(teacher_folder)
    run([name], str(squad_file), str(output), max_length=128, doc_stride=16, batch_size=4, passes=2)
    found = json.loads(output.read_text(encoding="utf-8"))[name]
    assert (found["questions"], found["windows"], len(found["passes"])) == (18, 18, 2)
    assert "decoding and scoring" in capsys.readouterr().out
