"""The progress bar."""

from __future__ import annotations

import io
import re

import lightning as L
import pytest
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


def fit(folder, stages=STAGES, **settings):
    screen = io.StringIO()
    bar = StageProgressBar(leave=True, console_kwargs={"file": screen, "force_terminal": True, "width": 200})
    reader = Reader(bar)
    schedule = [StageSchedule(stages)] if stages else []
    logger = CSVLogger(folder, name="", version="run")
    trainer = tiny_trainer(folder, [*schedule, bar, reader], logger=logger, enable_progress_bar=True, **settings)
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


@pytest.mark.parametrize(
    ("steps", "settings", "totals"),
    [
        ((1, 2), {}, [2, 1]),  # epochs of two batches
        ((1, 1), {}, [2]),
        ((1, 4), {"max_epochs": -1}, [2, 2, 1]),
        ((1, 1), {"accumulate_grad_batches": 2}, [2, 2]),
        ((3, 3), {"max_steps": 3}, [2, 1]),
    ],
)
def test_bar_of_an_epoch_is_as_long_as_what_the_stages_have_left(tmp_path, steps, settings, totals):
    stages = {name: Stage({"hidden": 1.0}, steps=number) for name, number in zip("ab", steps, strict=True)}
    _, screen = fit(tmp_path, stages, **settings)
    found = re.findall(r"Epoch (\d+)/\S+.*? (\d+)/(\d+) ", re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", screen))
    ends = {int(epoch): (int(done), int(total)) for epoch, done, total in found}
    assert ends == {epoch: (total, total) for epoch, total in enumerate(totals)}
