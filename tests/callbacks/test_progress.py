"""The progress bar."""

from __future__ import annotations

import io

import lightning as L
from lightning.pytorch.loggers import CSVLogger

from distill.callbacks.progress import StageProgressBar
from distill.callbacks.stages import StageSchedule
from distill.stages import Stage

from .fakes import FakeModule, tiny_trainer

STAGES = {"intermediate": Stage({"hidden": 1.0}, epochs=1), "logits": Stage({"logits": 1.0}, epochs=1)}


class LossModule(FakeModule):
    """Logs a loss for the bar."""

    def training_step(self, batch, batch_idx):
        loss = super().training_step(batch, batch_idx)
        self.log("train/loss", loss, prog_bar=True, batch_size=2)
        return loss


class Reader(L.Callback):
    """Keeps what the bar would show after every batch."""

    def __init__(self, bar: StageProgressBar) -> None:
        self.bar = bar
        self.shown: list[dict] = []

    def on_train_batch_end(self, trainer, pl_module, *_) -> None:
        self.shown.append(self.bar.get_metrics(trainer, pl_module))


def fit(folder, stages=STAGES):
    screen = io.StringIO()
    bar = StageProgressBar(leave=True, console_kwargs={"file": screen, "force_terminal": True, "width": 200})
    reader = Reader(bar)
    schedule = [StageSchedule(stages)] if stages else []
    logger = CSVLogger(folder, name="", version="run")
    trainer = tiny_trainer(folder, [*schedule, bar, reader], logger=logger, enable_progress_bar=True)
    trainer.fit(LossModule(with_teacher=False))
    return reader.shown, screen.getvalue()


def test_stage_comes_first_and_no_version_number_is_shown(tmp_path):
    shown, _ = fit(tmp_path)
    assert [next(iter(metrics.items())) for metrics in shown] == [
        ("stage", "intermediate"),
        ("stage", "intermediate"),
        ("stage", "logits"),
        ("stage", "logits"),
    ]
    assert all("train/loss" in metrics and "v_num" not in metrics for metrics in shown)


def test_stage_is_drawn(tmp_path):
    _, screen = fit(tmp_path)
    assert "stage: intermediate" in screen
    assert "stage: logits" in screen


def test_run_without_stages_shows_what_was_logged(tmp_path):
    shown, screen = fit(tmp_path, stages=None)
    assert [list(metrics) for metrics in shown] == [["train/loss"]] * 4
    assert "stage" not in screen
