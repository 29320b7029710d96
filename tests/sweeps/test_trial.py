"""One trial as a process."""

from __future__ import annotations

import os
import sys

import pytest

from distill.sweeps.stopping import Progress
from distill.sweeps.trial import read_progress, run_folder_arguments, run_trial

from .conftest import STUB


def run(folder, *arguments, should_stop=lambda progress: False, score="f1"):
    command = [sys.executable, str(STUB), *arguments, *run_folder_arguments(folder)]
    return run_trial(command, folder, "final/f1", score, should_stop, poll_seconds=0.02)


def test_a_trial_ends_with_the_reports_figures(tmp_path):
    outcome = run(tmp_path / "trials" / "0000", "--x=60", "--latency=2.5")
    assert (outcome.state, outcome.score, outcome.latency_ms) == ("complete", 60.0, 2.5)
    assert outcome.progress == Progress((20.0, 30.0, 60.0), 2.5)


def test_a_trial_without_hope_is_stopped_at_once(tmp_path):
    (tmp_path / "block").write_text("all")
    seen = []

    def should_stop(progress):
        seen.append(progress)
        return len(progress.scores) == 2

    outcome = run(tmp_path / "0000", "--x=60", f"--block={tmp_path / 'block'}", should_stop=should_stop)
    assert outcome.state == "stopped"
    assert outcome.score is None
    assert seen[-1] == Progress((20.0, 30.0), 3.0)
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "0000" / "pid").read_text()), 0)


def test_a_trial_that_fails_says_why(tmp_path):
    outcome = run(tmp_path / "0000", "--x=-1")
    assert (outcome.state, outcome.message) == ("failed", "error: x is negative")
    assert (tmp_path / "0000.log").read_text().strip() == "error: x is negative"


def test_a_report_without_the_score_is_a_failure(tmp_path):
    outcome = run(tmp_path / "0000", "--x=1", score="perplexity")
    assert outcome.state == "failed"
    assert "report.json: there is no perplexity of the student" in outcome.message


def test_an_interrupt_ends_the_trial_too(tmp_path):
    (tmp_path / "block").write_text("all")

    def interrupt(progress):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "0000", "--x=60", f"--block={tmp_path / 'block'}", should_stop=interrupt)
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "0000" / "pid").read_text()), 0)


def test_the_latency_of_the_smallest_batch_at_the_largest_length_counts(tmp_path):
    names = ["b1_s64", "b1_s384", "b8_s384", "b8_s64"]
    header = ",".join(["step", "final/f1", *(f"latency/student/p50_ms/{name}" for name in names)])
    (tmp_path / "metrics.csv").write_text(f"{header}\n1,50,1,2,3,4\n2,nan,,,,\n", encoding="utf-8")
    assert read_progress(tmp_path, "final/f1") == Progress((50.0,), 2.0)
    assert read_progress(tmp_path / "absent", "final/f1") == Progress()
    (tmp_path / "metrics.csv").write_text("step,final/f1\n1,5x", encoding="utf-8")
    assert read_progress(tmp_path, "final/f1") is None
