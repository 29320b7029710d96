"""Reading what a run left, whole or in part."""

from __future__ import annotations

import pytest

from distill.reporting.charts.frame import Span
from distill.reporting.run import read_curves, read_run
from distill.types import UserError

from .runs import write_metrics, write_run


def test_everything_is_read(tmp_path):
    run = read_run(write_run(tmp_path / "distill" / "version_0"))
    assert run.name == "distill/version_0"
    assert run.curves["train/logits/labels"][0] == (40.0, pytest.approx(5 - 40 / 30))
    assert run.scores("teacher")["f1"] == 84.4
    assert run.stages == [Span("intermediate", 0, 40), Span("logits", 40, 100)]
    assert run.num_steps == 100
    assert run.main_score["name"] == "f1"
    assert run.outcomes["q1"]["student"]["f1"] == 12.0


def test_a_run_that_goes_on_has_curves_and_the_stages_seen_so_far(tmp_path):
    run = read_run(write_run(tmp_path, report=None, latency=None, samples=None))
    assert run.stages == [Span("intermediate", 0, 40), Span("logits", 40, 95)]
    assert run.num_steps == 95
    assert run.scores("student") == {}


def test_the_headline_is_the_tasks(tmp_path):
    headline = [{"name": "perplexity", "label": "perplexity", "higher_is_better": False}]
    run = read_run(write_run(tmp_path, report={"headline": headline, "student": {"scores": {"perplexity": 9.0}}}))
    assert run.main_score == headline[0]


def test_the_last_value_of_a_step_counts_and_a_cut_line_does_not(tmp_path):
    (tmp_path / "metrics.csv").write_text(
        "step,epoch,val/f1,val/em\n3,0,1.0,\n1,0,5.0,\n3,0,2.0,7\n4,0", encoding="utf-8"
    )
    assert read_curves(tmp_path / "metrics.csv") == {"val/f1": [(1.0, 5.0), (3.0, 2.0)], "val/em": [(3.0, 7.0)]}
    assert read_curves(tmp_path / "absent.csv") == {}


def test_no_run_and_damaged_files_are_named(tmp_path):
    with pytest.raises(UserError, match=r"neither report\.json nor metrics\.csv"):
        read_run(tmp_path)
    write_metrics(tmp_path, [{"step": 1, "val/f1": "many"}])
    with pytest.raises(UserError, match=r"metrics\.csv: line 2, val/f1"):
        read_run(tmp_path)
    write_run(tmp_path, samples={"not": "a list"})
    with pytest.raises(UserError, match=r"samples\.json: a list is expected, not a dict"):
        read_run(tmp_path)
    (tmp_path / "samples.json").write_text("{", encoding="utf-8")
    with pytest.raises(UserError, match=r"samples\.json: not valid JSON"):
        read_run(tmp_path)
    (tmp_path / "samples.json").unlink()
    (tmp_path / "outcomes.jsonl").write_text('{"id": 1}\n[]\n', encoding="utf-8")
    with pytest.raises(UserError, match=r"outcomes\.jsonl: line 2"):
        read_run(tmp_path)
