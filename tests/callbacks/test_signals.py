"""Signals: noted at once, acted upon between steps."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from types import SimpleNamespace

import lightning as L
import pytest
import torch

from distill.callbacks.checkpoints import LastCheckpoint
from distill.callbacks.signals import RunStopped, SignalStop, slurm_job
from distill.callbacks.status import StatusFile

from .fakes import FakeModule, tiny_trainer


@pytest.fixture(autouse=True)
def _outside_slurm(monkeypatch):
    for name in ("SLURM_JOB_ID", "SLURM_ARRAY_JOB_ID", "SLURM_ARRAY_TASK_ID"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(autouse=True)
def _handlers():
    """No test leaves a handler behind."""
    numbers = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)
    before = [signal.getsignal(number) for number in numbers]
    yield
    assert [signal.getsignal(number) for number in numbers] == before


class Send(L.Callback):
    """Sends this process signals within the forward pass of a batch, so in the middle of a step."""

    def __init__(self, batch: int, *numbers: int, hook: str = "on_train_batch_start") -> None:
        self.batch, self.numbers = batch, numbers
        setattr(self, hook, self.send)

    def send(self, trainer, *_) -> None:
        if trainer.fit_loop.epoch_loop.total_batch_idx == self.batch:
            for number in self.numbers:
                os.kill(os.getpid(), number)


def fit(folder, *callbacks, stop=None, **settings) -> L.Trainer:
    callbacks = [*callbacks, LastCheckpoint(every_n_epochs=100), StatusFile(), stop or SignalStop()]
    trainer = tiny_trainer(folder, callbacks, enable_checkpointing=True, max_epochs=4, **settings)
    trainer.fit(FakeModule(with_teacher=False))
    return trainer


def stopped_at(folder) -> int:
    return torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)["global_step"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1, signal.SIGINT])
@pytest.mark.parametrize("batch", [1, 2])
def test_run_saves_and_stops_when_the_step_is_done(tmp_path, number, batch):
    with pytest.raises(RunStopped, match=f"stopped by {number.name} at step {batch + 1}") as info:
        fit(tmp_path, Send(batch, number))
    assert (info.value.signal, info.value.where) == (number, f"at step {batch + 1}")
    assert info.value.is_saved
    assert stopped_at(tmp_path) == batch + 1
    status = json.loads((tmp_path / "status.json").read_text(encoding="utf-8"))
    assert status["state"] == "stopped"
    last = tmp_path / "checkpoints" / "last.ckpt"
    assert status["ended"] == f"stopped by {number.name} at step {batch + 1}, resume with --ckpt_path {last}"


def test_gradients_that_are_being_accumulated_are_used_first(tmp_path):
    with pytest.raises(RunStopped, match="at step 2"):
        fit(tmp_path, Send(2, signal.SIGTERM), accumulate_grad_batches=2)
    assert stopped_at(tmp_path) == 2


def test_validation_that_is_due_is_done_first(tmp_path):
    module_validated = []

    class Watch(L.Callback):
        def on_validation_end(self, trainer, pl_module) -> None:
            module_validated.append(trainer.global_step)

    with pytest.raises(RunStopped, match="at step 2"):
        fit(tmp_path, Watch(), Send(1, signal.SIGTERM), val_check_interval=1)
    assert module_validated == [1, 2]


@pytest.mark.parametrize("numbers", [(signal.SIGINT, signal.SIGINT), (signal.SIGINT, signal.SIGTERM, signal.SIGINT)])
def test_second_interrupt_ends_at_once(tmp_path, numbers):
    with pytest.raises(RunStopped, match="stopped by SIGINT at once, after step 1"):
        fit(tmp_path, Send(1, *numbers))
    assert not (tmp_path / "checkpoints" / "last.ckpt").exists()
    status = json.loads((tmp_path / "status.json").read_text(encoding="utf-8"))
    assert (status["state"], status["ended"]) == ("stopped", "stopped by SIGINT at once, after step 1")


@pytest.mark.parametrize(
    ("numbers", "strongest"),
    [
        ((signal.SIGUSR1, signal.SIGTERM), signal.SIGUSR1),
        ((signal.SIGTERM, signal.SIGUSR1), signal.SIGUSR1),
        ((signal.SIGTERM, signal.SIGINT), signal.SIGTERM),
    ],
)
def test_signal_that_requeues_is_not_forgotten_for_another(tmp_path, numbers, strongest):
    with pytest.raises(RunStopped) as info:
        fit(tmp_path, Send(1, *numbers))
    assert info.value.signal == strongest


class Steps(FakeModule):
    """Counts what it trains."""

    num_batches = 0

    def training_step(self, batch, batch_idx):
        self.num_batches += 1
        return super().training_step(batch, batch_idx)


@pytest.mark.parametrize("batch", [0, 2])
def test_run_that_would_lose_nothing_ends_at_once(tmp_path, batch):
    module = Steps(with_teacher=False)
    callbacks = [Send(batch, signal.SIGTERM), LastCheckpoint(every_n_steps=1), StatusFile(), SignalStop()]
    trainer = tiny_trainer(tmp_path, callbacks, enable_checkpointing=True, max_epochs=4)
    with pytest.raises(RunStopped, match=f"stopped by SIGTERM at step {batch}"):
        trainer.fit(module)
    assert module.num_batches == batch
    if batch:
        assert stopped_at(tmp_path) == batch


@pytest.mark.parametrize(
    ("hook", "waits_for"), [("on_train_batch_start", "step"), ("on_validation_batch_start", "validation")]
)
def test_what_a_signal_waits_for_is_said_at_once(tmp_path, capfd, hook, waits_for):
    said = []

    class Listen(Send):
        def send(self, trainer, *rest) -> None:
            before = len(said)
            super().send(trainer, *rest)
            said.append(capfd.readouterr().err)
            assert len(said) == before + 1

    with pytest.raises(RunStopped):
        fit(tmp_path, Listen(1, signal.SIGTERM, hook=hook), val_check_interval=1)
    assert f"SIGTERM: the run saves and stops when the {waits_for} under way is done" in "".join(said)


@pytest.mark.parametrize(
    ("hook", "where"), [("on_fit_start", "before"), ("on_train_end", "after"), ("on_fit_end", "after")]
)
def test_outside_training_a_signal_ends_the_run_at_once(tmp_path, hook, where):
    class Now(L.Callback):
        pass

    setattr(Now, hook, lambda *_: os.kill(os.getpid(), signal.SIGTERM))
    with pytest.raises(RunStopped, match=f"stopped by SIGTERM {where} training") as stop:
        fit(tmp_path, Now())
    assert not stop.value.is_saved  # a hundred epochs are not over


def test_run_that_is_stopped_while_it_loads_leaves_no_folder(tmp_path):
    class Loading(FakeModule):
        def configure_model(self):
            signal.raise_signal(signal.SIGINT)

    status, stop = StatusFile(), SignalStop()
    trainer = tiny_trainer(tmp_path / "run", [status, stop], enable_checkpointing=True)
    with pytest.raises(RunStopped, match="stopped by SIGINT before training") as stopped:
        trainer.fit(Loading())
    assert not stopped.value.is_saved
    assert not (tmp_path / "run").exists()


def test_forked_process_leaves_the_signal_to_the_run(monkeypatch):
    stop = SignalStop()
    stop.install()
    try:
        with monkeypatch.context() as patch:
            patch.setattr(os, "getpid", lambda: -1)
            signal.raise_signal(signal.SIGTERM)
        with pytest.raises(RunStopped, match="before training"):
            signal.raise_signal(signal.SIGTERM)
    finally:
        stop.uninstall()


def test_run_that_is_left_alone_finishes_and_gives_the_signals_back(tmp_path):
    assert fit(tmp_path).global_step == 8
    status = json.loads((tmp_path / "status.json").read_text(encoding="utf-8"))
    assert (status["state"], status["ended"], status["step"]) == ("finished", "finished", 8)


def test_what_failed_is_written_down(tmp_path):
    class Fail(L.Callback):
        def on_train_epoch_end(self, trainer, pl_module) -> None:
            raise ValueError("no luck")

    with pytest.raises(ValueError, match="no luck"):
        fit(tmp_path, Fail())
    status = json.loads((tmp_path / "status.json").read_text(encoding="utf-8"))
    assert (status["state"], status["ended"]) == ("failed", "ValueError: no luck")


@pytest.mark.parametrize(
    ("environment", "job"),
    [
        ({}, None),
        ({"SLURM_JOB_ID": "7"}, "7"),
        ({"SLURM_JOB_ID": "7", "SLURM_ARRAY_JOB_ID": "5", "SLURM_ARRAY_TASK_ID": "2"}, "5_2"),
    ],
)
def test_job_is_the_task_of_an_array(monkeypatch, environment, job):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert slurm_job() == job


@pytest.mark.parametrize(
    ("number", "requeue", "expected"),
    [
        (signal.SIGUSR1, True, [["scontrol", "requeue", "7"]]),
        (signal.SIGUSR1, False, []),
        (signal.SIGTERM, True, []),
    ],
)
def test_requeue_follows_the_scheduler_signal_alone_when_all_is_written(
    tmp_path, monkeypatch, number, requeue, expected
):
    ran = []

    def run(command, **_):
        assert json.loads((tmp_path / "status.json").read_text(encoding="utf-8"))["state"] == "stopped"
        ran.append(command)
        return SimpleNamespace(returncode=0, stderr="")

    stop = SignalStop(requeue)
    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setattr("distill.callbacks.signals.slurm_job", lambda: "7")
    with pytest.raises(RunStopped):
        fit(tmp_path, Send(1, number), stop=stop)
    assert ran == expected
