"""The study on disk."""

from __future__ import annotations

import sys

import pytest

from distill.sweeps.stopping import Progress
from distill.sweeps.study import SweepStudy, message_of
from distill.sweeps.trial import Outcome
from distill.types import UserError

from .conftest import sweep_of

pytest.importorskip("optuna")

SPACE = {
    "choice": {"values": ["uniform", [0, 3], 2, True]},
    "rate": {"distribution": "log_uniform_values", "min": 1e-3, "max": 1e-1},
    "layers": {"min": 1, "max": 4},
}


def complete(score, latency_ms):
    return Outcome("complete", Progress((score,), latency_ms), score, latency_ms)


@pytest.mark.parametrize("method", ["bayes", "random"])
def test_settings_lie_in_their_space_and_come_back_as_written(tmp_path, method):
    study = SweepStudy(sweep_of(SPACE, method), tmp_path)
    drawn = []
    for index in range(14):
        trial, settings = study.begin()
        drawn.append(settings)
        study.end(trial, complete(float(index), 3.0))
    assert all(settings["choice"] in SPACE["choice"]["values"] for settings in drawn)
    assert {str(settings["choice"]) for settings in drawn} > {"uniform"}
    assert all(1e-3 <= settings["rate"] <= 1e-1 and settings["layers"] in (1, 2, 3, 4) for settings in drawn)
    assert study.num_ended == 14


def test_opened_again_it_goes_on_with_other_settings(tmp_path):
    sweep = sweep_of({"x": {"min": 0.0, "max": 1.0}}, "random")
    seen = set()
    for _ in range(3):
        study = SweepStudy(sweep, tmp_path, seed=1)
        trial, settings = study.begin()
        seen.add(settings["x"])
        study.end(trial, complete(1.0, 1.0))
    assert len(seen) == 3
    assert study.num_ended == 3


def test_what_was_running_is_marked_and_run_again_once(tmp_path):
    sweep = sweep_of({"x": {"min": 0.0, "max": 1.0}}, "bayes")
    study = SweepStudy(sweep, tmp_path)
    for outcome in (complete(1.0, 1.0), None):
        trial, settings = study.begin()
        if outcome:
            study.end(trial, outcome)
    again = SweepStudy(sweep, tmp_path)  # the second trial never ended
    assert again.num_recovered == 1
    assert [trial.number for trial in again.trials] == [0]
    assert SweepStudy(sweep, tmp_path).num_recovered == 0
    trial, repeated = again.begin()
    assert repeated == settings
    assert trial.number == 2
    again.end(trial, Outcome("failed", Progress(), message="no space"))
    assert [message_of(trial) for trial in again.trials] == ["", "no space; repeats 1"]
    assert again.num_ended == 2
    _, new = again.begin()
    assert new != settings


def test_progress_of_others_includes_stopped_and_failed_trials(tmp_path):
    study = SweepStudy(sweep_of({"x": {"min": 0.0, "max": 1.0}}, "random"), tmp_path)
    for outcome in (Outcome("stopped", Progress((1.0, 2.0), 3.0)), Outcome("failed", Progress((4.0,)), message="x")):
        trial, _ = study.begin()
        study.end(trial, outcome)
    trial, _ = study.begin()
    study.keep_progress(trial, Progress((9.0,)))
    assert study.progress_of_others(trial) == [Progress((1.0, 2.0), 3.0), Progress((4.0,))]


def test_a_grid_is_every_combination_once(tmp_path):
    sweep = sweep_of({"a": {"values": [1, "b"]}, "n": {"min": 1, "max": 2}})
    seen = []
    for _ in range(2):  # opened twice: nothing is queued twice
        study = SweepStudy(sweep, tmp_path)
        trial, settings = study.begin()
        seen.append(settings)
        study.end(trial, complete(1.0, 1.0))
    while not study.is_exhausted:
        trial, settings = study.begin()
        seen.append(settings)
        study.end(trial, complete(1.0, 1.0))
    assert sorted(map(str, seen)) == sorted(str({"a": a, "n": n}) for a in (1, "b") for n in (1, 2))


def test_a_folder_holds_one_sweep(tmp_path):
    SweepStudy(sweep_of({"x": {"values": [1]}}), tmp_path)
    with pytest.raises(UserError, match=r"holds a sweep with other parameters; choose another --output"):
        SweepStudy(sweep_of({"x": {"values": [1, 2]}}), tmp_path)
    (tmp_path / "other").mkdir()
    with pytest.raises(UserError, match="a grid needs values"):
        SweepStudy(sweep_of({"x": {"min": 0.0, "max": 1.0}}), tmp_path / "other")


def test_without_optuna_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(UserError, match=r"pip install 'distill\[sweep\]'"):
        SweepStudy(sweep_of({"x": {"values": [1]}}), tmp_path)
