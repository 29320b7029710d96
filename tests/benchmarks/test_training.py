"""The benchmark's arms run and its figures are what they are called; how fast anything was is not asserted."""

import json
import sys
from types import SimpleNamespace

import pytest
import torch

from . import training
from .steps import __main__ as steps
from .training import COMPARISONS, CannotRunError, run_arm, run_rounds, summarise


def result(seconds, peak=1e6):
    return {"processor": [seconds] * 3, "wall": [2 * seconds] * 3, "peak_memory": peak}


def test_ratios_are_taken_round_by_round():
    found = {"bare": [result(1.0), result(10.0)], "own": [result(3.0), result(10.0, peak=3e6)]}
    summary = summarise(found, "bare")
    assert summary["bare"]["processor_ratio"]["median"] == 1.0
    assert summary["own"]["processor_ratio"]["median"] == 2.0
    assert summary["own"]["wall_ms"]["median"] == 13000.0
    assert summary["own"]["peak_mb"] == 2.0


def test_arms_take_turns_and_those_that_break_are_named(monkeypatch):
    turns = []

    def run(arm, python, warmup, steps):
        turns.append((arm, python))
        if arm == "peers.broken":
            raise CannotRunError("no module named broken")
        return result(1.0)

    monkeypatch.setattr(training, "run_arm", run)
    found, left_out = run_rounds(["own.a", "own.b", "peers.broken"], "/peers/python", rounds=3, warmup=1, steps=1)
    assert turns == [
        *(("own.a", sys.executable), ("own.b", sys.executable), ("peers.broken", "/peers/python")),
        *(("own.b", sys.executable), ("own.a", sys.executable)),
        *(("own.a", sys.executable), ("own.b", sys.executable)),
    ]
    assert {arm: len(results) for arm, results in found.items()} == {"own.a": 3, "own.b": 3}
    assert left_out == {"peers.broken": "no module named broken"}


def test_a_reference_that_breaks_costs_its_table_alone(monkeypatch, tmp_path, capsys):
    def run(arm, python, warmup, steps):
        if arm == "bare.layers":
            raise CannotRunError("no memory")
        return result(1.0)

    monkeypatch.setattr(training, "run_arm", run)
    training.main(str(tmp_path / "training.json"), rounds=2)
    written = json.loads((tmp_path / "training.json").read_text(encoding="utf-8"))
    assert written["left_out"] == {"bare.layers": "no memory"}
    assert [title in written for title in COMPARISONS] == [False, True]
    assert len(written["rounds"]["own.layers"]) == 2
    assert "nothing to compare with" in capsys.readouterr().out


@pytest.mark.parametrize("module", ["own", "bare", "peers"])
def test_every_arm_has_the_same_settings_of_the_processor(module, monkeypatch, capsys):
    done = []
    monkeypatch.setattr(torch, "set_num_threads", lambda number: done.append(number))
    monkeypatch.setattr(steps, "prepare_processor", lambda: done.append("prepared"))
    monkeypatch.setattr(steps, "import_module", lambda *_: SimpleNamespace(arm=lambda stopwatch: done.append("run")))
    steps.main(f"{module}.arm", 1, 1)
    assert done == [1, "prepared", "run"]
    assert json.loads(capsys.readouterr().out)["wall"] == []


@pytest.mark.slow
@pytest.mark.parametrize(
    "arm", [arm for arms in COMPARISONS.values() for arm in arms.values() if not arm.startswith("peers.")]
)
def test_arm_runs(arm):
    found = run_arm(arm, sys.executable, warmup=1, steps=2)
    assert len(found["wall"]) == len(found["processor"]) == 2
    assert found["peak_memory"] > found["imported_memory"]


def test_arm_that_breaks_says_why():
    with pytest.raises(CannotRunError, match="bare"):
        run_arm("bare.nothing", sys.executable, warmup=1, steps=2)
