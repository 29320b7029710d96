"""Whole sweeps of the stub: ended, stopped, failed, killed and gone on with."""

from __future__ import annotations

import csv
import fcntl
import multiprocessing
import os
import signal
import time
import xml.etree.ElementTree as ET

import pytest

from distill.sweeps.__main__ import main
from distill.sweeps.runner import run_sweep
from distill.types import UserError

from .conftest import STUB, sweep_of

pytest.importorskip("optuna")


def rows(folder):
    with (folder / "trials.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_a_grid_is_run_and_its_front_shown(tmp_path, capsys):
    sweep = sweep_of({"x": {"values": [60, 70, 50]}, "latency": {"values": [2.0, 5.0]}})
    result = run_sweep(sweep, tmp_path, num_trials=99, poll_seconds=0.02)
    assert {row.state for row in result.rows} == {"complete"}
    front = {(row.score, row.latency_ms) for row in result.rows if row.is_on_front}
    assert front == {(70.0, 2.0)}
    assert result.teacher == (90.0, 12.0)
    assert len(rows(tmp_path)) == 6
    picture = ET.fromstring((tmp_path / "pareto.svg").read_text(encoding="utf-8"))
    names = [node.text for node in picture.iter("{http://www.w3.org/2000/svg}text")]
    assert {"teacher", "F1, %", "p50 of a call, ms, log scale"} <= set(names)
    page = (tmp_path / "sweep.html").read_text(encoding="utf-8")
    assert "6 complete" in page
    assert "F1 by latency" in page
    assert "trial 0 complete: f1" in capsys.readouterr().out


def test_hopeless_trials_are_stopped_early(tmp_path):
    (tmp_path / "block").write_text("0003")
    early = {"type": "hyperband", "min_iter": 1, "eta": 3}
    sweep = sweep_of(
        {"x": {"values": [70, 80, 90, 10]}}, extra=(f"--block={tmp_path / 'block'}",), early_terminate=early
    )
    result = run_sweep(sweep, tmp_path / "out", num_trials=4, poll_seconds=0.02)
    # A grid is run in its order, and the last trial would wait for ever.
    assert [row.state for row in result.rows] == ["complete", "complete", "complete", "stopped early"]
    assert result.rows[3].last_score == 5.0
    assert result.rows[3].score is None


def test_a_failure_is_passed_over_but_not_many_in_a_row(tmp_path):
    result = run_sweep(sweep_of({"x": {"values": [50, -1, 60]}}), tmp_path / "one", 3, poll_seconds=0.02)
    assert [row.state for row in result.rows] == ["complete", "failed", "complete"]
    assert result.rows[1].message == "error: x is negative"
    with pytest.raises(UserError, match="3 trials in a row failed, the last one with: error: x is negative"):
        run_sweep(sweep_of({"x": {"values": [-1, -2, -3, 50]}}), tmp_path / "all", 4, poll_seconds=0.02)


def test_only_one_runner_works_in_a_folder(tmp_path):
    with (tmp_path / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(UserError, match="another process runs a sweep there"):
            run_sweep(sweep_of({"x": {"values": [1]}}), tmp_path, 1)


def wait_until(condition, seconds=120.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_killed_sweep_goes_on_where_it_was(tmp_path):
    (tmp_path / "block").write_text("0002")
    folder, sweep = (
        tmp_path / "out",
        sweep_of({"x": {"min": 10.0, "max": 90.0}}, "bayes", extra=(f"--block={tmp_path / 'block'}",)),
    )
    runner = multiprocessing.get_context("fork").Process(target=run_sweep, args=(sweep, folder, 8, 0, 0.02))
    runner.start()
    half_run = folder / "trials" / "0002"
    wait_until((half_run / "pid").is_file)
    pid = int((half_run / "pid").read_text())
    os.kill(runner.pid, signal.SIGKILL)
    runner.join()
    wait_until(lambda: not is_alive(pid))  # nothing goes on without the runner

    before = rows(folder)
    assert len(before) == 2
    (tmp_path / "block").unlink()
    result = run_sweep(sweep, folder, num_trials=8, poll_seconds=0.02)
    assert [row.number for row in result.rows] == [0, 1, *range(3, 9)]
    assert {row.state for row in result.rows} == {"complete"}
    assert result.rows[2].message == "repeats 2"
    assert [row["f1"] for row in rows(folder)][:2] == [row["f1"] for row in before]
    again = run_sweep(sweep, folder, num_trials=8, poll_seconds=0.02)
    assert len(again.rows) == 8


def test_the_command_prints_the_trials_and_names_mistakes(tmp_path, capsys):
    path = tmp_path / "sweep.yaml"
    path.write_text(
        f"program: {STUB}\nmethod: grid\nmetric: {{name: final/f1, goal: maximize}}\n"
        "command: ['${interpreter}', '${program}', '${args}']\n"
        "parameters: {x: {values: [40]}}\n",
        encoding="utf-8",
    )
    assert main([str(path), "--num_trials", "1", "--output", str(tmp_path / "out")]) == 0
    printed = capsys.readouterr().out
    assert "40.00" in printed
    assert f"wrote {tmp_path / 'out' / 'sweep.html'}" in printed
    assert main([str(tmp_path / "absent.yaml"), "--num_trials", "1", "--output", str(tmp_path)]) == 1
    assert "absent.yaml: cannot be read" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main([str(path), "--num_trials", "0", "--output", str(tmp_path)])
