"""Training values go to the loggers when these look, and nowhere at other steps."""

import pytest
import torch
from lightning.pytorch.loggers import Logger

from distill.callbacks.guard import NumericalGuard
from distill.callbacks.stages import StageSchedule
from distill.models.student import Student
from distill.modules.distillation import DistillationModule
from distill.stages import Stage
from tests.callbacks.fakes import tiny_trainer

LAST = 11


class Rows(Logger):
    """Keeps what it is given."""

    name, version = "rows", 0

    def __init__(self) -> None:
        super().__init__()
        self.rows: dict[int, dict[str, float]] = {}

    def log_metrics(self, metrics, step=None) -> None:
        self.rows.setdefault(step, {}).update(metrics)

    def log_hyperparams(self, *args, **kwargs) -> None:
        """Keep nothing of these."""


@pytest.fixture
def data(make_questions):
    return make_questions(batch_size=3)


@pytest.fixture
def fit(data, teacher_folder, tmp_path, monkeypatch):
    """Train ten steps and return the loggers' rows and the names that were logged at each step."""

    def run(**settings):
        student = Student(num_layers=2, hidden_size=8, num_heads=2, intermediate_size=16, dropout=0.0)
        torch.manual_seed(1)
        module = DistillationModule(str(teacher_folder), student)
        seen: dict[int, set[str]] = {}

        def log(name, *args, **kwargs):
            seen.setdefault(module.trainer.global_step, set()).add(name)
            DistillationModule.log(module, name, *args, **kwargs)

        monkeypatch.setattr(module, "log", log)
        stages = {
            "intermediate": Stage({"hidden": 1.0}, steps=4, learning_rate=1e-3),
            "logits": Stage({"logits": 1.0}, steps=LAST - 4 + 1, learning_rate=1e-3),
        }
        rows = Rows()
        callbacks = [StageSchedule(stages), NumericalGuard()]
        trainer = tiny_trainer(tmp_path, callbacks, logger=rows, max_epochs=-1, limit_val_batches=0, **settings)
        trainer.fit(module, data)
        return {step: row for step, row in rows.rows.items() if "train/loss" in row}, seen

    return run


def test_values_are_logged_at_steps_that_are_looked_at_alone(fit):
    rows, seen = fit(log_every_n_steps=3)
    assert list(rows) == [2, 5, 8, 11]
    assert {4, 11} <= set(seen)  # where a stage begins, and the last step
    assert not {1, 7, 10} & set(seen)
    for step, row in rows.items():
        term = "train/intermediate/hidden" if step < 4 else "train/logits/logits"
        assert seen[step] == {"train/loss", "train/gradient_norm", "train/learning_rate", "train/stage", term}
        assert seen[step] <= set(row)


def test_values_are_those_of_a_run_that_logs_every_step(fit):
    rows, _ = fit(log_every_n_steps=3)
    every, _ = fit(log_every_n_steps=1)
    assert list(every) == list(range(LAST + 1))
    names = {"train/loss", "train/gradient_norm", "train/learning_rate", "train/stage"}
    for step, row in rows.items():
        assert {name: row[name] for name in names} == {name: every[step][name] for name in names}


def test_last_micro_batch_of_a_step_is_logged(fit):
    rows, _ = fit(log_every_n_steps=2, accumulate_grad_batches=2)
    every, _ = fit(log_every_n_steps=1, accumulate_grad_batches=2)
    assert list(rows) == [1, 3, 5, 7, 9, 11]
    assert all(row["train/loss"] == every[step]["train/loss"] for step, row in rows.items())
