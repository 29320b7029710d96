"""The progress bar."""

from __future__ import annotations

import io
import re

import lightning as L
import pytest
import torch
from lightning.pytorch.loggers import CSVLogger
from torch.utils.data import DataLoader

from distill.callbacks.progress import StageProgressBar
from distill.callbacks.stages import StageSchedule
from distill.stages import Stage
from distill.types import Batch

from .fakes import Examples, FakeModule, tiny_trainer

STAGES = {"intermediate": Stage({"hidden": 1.0}, epochs=1), "logits": Stage({"logits": 1.0}, epochs=1)}


class LossModule(FakeModule):
    """Keeps the loss of a step, which is how many batches were before it."""

    def training_step(self, batch, batch_idx):
        self.step_values = {"loss": torch.tensor(float(self.trainer.fit_loop.epoch_loop.total_batch_idx))}
        return super().training_step(batch, batch_idx)


class Numbers(Examples):
    """As many examples as one likes."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __len__(self) -> int:
        return self.number


class Reader(L.Callback):
    """Keeps what the bar would show after every batch."""

    def __init__(self, bar: StageProgressBar) -> None:
        self.bar = bar
        self.shown: list[dict] = []

    def on_train_batch_end(self, trainer, pl_module, *_) -> None:
        self.shown.append(self.bar.get_metrics(trainer, pl_module))


def fit(folder, stages=STAGES, batches=2, **settings):
    screen = io.StringIO()
    bar = StageProgressBar(leave=True, console_kwargs={"file": screen, "force_terminal": True, "width": 200})
    reader = Reader(bar)
    schedule = [StageSchedule(stages)] if stages else []
    logger = CSVLogger(folder, name="", version="run")
    trainer = tiny_trainer(folder, [*schedule, bar, reader], logger=logger, enable_progress_bar=True, **settings)
    loader = DataLoader(Numbers(2 * batches), batch_size=2)
    trainer.fit(LossModule(with_teacher=False), loader, loader)
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


def test_loss_is_that_of_the_latest_step_that_is_logged(tmp_path):
    stages = {"only": Stage({"hidden": 1.0}, steps=8)}
    shown, _ = fit(tmp_path, stages, log_every_n_steps=3, max_epochs=-1, batches=8)
    assert [metrics["train/loss"] for metrics in shown] == [0.0, 0.0, 2.0, 2.0, 2.0, 5.0, 5.0, 7.0]


def test_loss_of_several_tasks_is_shown_under_their_names(tmp_path):
    batches = [Batch({}, {}, torch.tensor([]), task=task) for task in ("qa", "ner", "qa")]
    bar = StageProgressBar(console_kwargs={"file": io.StringIO()})
    reader = Reader(bar)
    trainer = tiny_trainer(tmp_path, [bar, reader], enable_progress_bar=True, max_epochs=1)
    trainer.fit(LossModule(with_teacher=False), DataLoader(batches, batch_size=None))
    assert reader.shown[-1] == {"qa/train/loss": 2.0, "ner/train/loss": 1.0}


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
