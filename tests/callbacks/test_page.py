"""The page at the end of a fit."""

from __future__ import annotations

import lightning as L
import pytest
from lightning.pytorch.loggers import CSVLogger

from distill.callbacks.benchmark import LatencyBenchmark
from distill.callbacks.page import ResultPage
from distill.callbacks.report import Report

from .fakes import FakeModule, tiny_trainer


def test_the_page_shows_what_the_run_has_just_logged(tmp_path):
    # Saved rarely, so that the last scores are still in memory when the fit ends.
    logger = CSVLogger(tmp_path, name="", version="run", flush_logs_every_n_steps=1000)
    benchmark = LatencyBenchmark(batch_sizes=(1,), lengths=(8, 16), rounds=2, warmup=0)
    tiny_trainer(tmp_path, [benchmark, Report(), ResultPage()], logger=logger).fit(FakeModule())
    page = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert "EM and F1 on validation data" in page
    assert "F1 against latency" in page
    assert "95.00" in page  # the teacher's F1
    assert not list((tmp_path / "run").glob(".*"))


def test_without_a_report_or_in_a_trial_run_there_is_no_page(tmp_path):
    tiny_trainer(tmp_path, [ResultPage()]).fit(FakeModule())
    tiny_trainer(tmp_path, [Report(), ResultPage()], fast_dev_run=True).fit(FakeModule())
    assert not (tmp_path / "report.html").exists()


def test_a_page_that_cannot_be_drawn_fails_no_run(tmp_path):
    class Damage(L.Callback):
        def on_fit_end(self, trainer, pl_module):
            (tmp_path / "latency.json").write_text("{", encoding="utf-8")

    with pytest.warns(UserWarning, match=r"no page of this run: .*latency\.json: not valid JSON"):
        tiny_trainer(tmp_path, [Report(), Damage(), ResultPage()]).fit(FakeModule())
