"""Scores of the final stage alone."""

from __future__ import annotations

from lightning.pytorch.loggers import CSVLogger

from distill.callbacks.final_stage import FinalStageScores
from distill.callbacks.stages import StageSchedule
from distill.reporting.run import read_curves
from distill.stages import Stage

from .fakes import FakeModule, tiny_trainer


def test_scores_are_repeated_in_the_final_stage_and_no_earlier(tmp_path):
    stages = {name: Stage({"labels": 1.0}, epochs=epochs) for name, epochs in (("first", 2), ("last", 3))}
    logger = CSVLogger(tmp_path, name="", version="run")
    callbacks = [StageSchedule(stages), FinalStageScores()]
    tiny_trainer(tmp_path, callbacks, logger=logger, max_epochs=-1).fit(FakeModule())
    curves = read_curves(tmp_path / "run" / "metrics.csv")
    assert len(curves["val/f1"]) == 5
    assert curves["final/f1"] == curves["val/f1"][2:]
    assert {name for name in curves if name.startswith("final/")} == {"final/f1", "final/exact_match"}


def test_without_stages_it_is_silent(tmp_path):
    logger = CSVLogger(tmp_path, name="", version="run")
    tiny_trainer(tmp_path, [FinalStageScores()], logger=logger).fit(FakeModule())
    assert "final/f1" not in read_curves(tmp_path / "run" / "metrics.csv")
