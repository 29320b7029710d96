"""Stopping and going on from the command line: one folder, one log, one run of W&B."""

from __future__ import annotations

import errno
import json
import os
import re
import signal
from pathlib import Path

import lightning as L
import pytest

from distill.checkpoints import load_checkpoint
from distill.cli import main
from distill.reporting.run import read_curves, read_run
from tests.test_configs import CONFIGS, tiny


class Terminate(L.Callback):
    """Tells this process to end within a step."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx) -> None:
        if trainer.global_step == self.step:
            os.kill(os.getpid(), signal.SIGTERM)


@pytest.fixture
def arguments(teacher_folder, squad_file, tmp_path, monkeypatch) -> list[str]:
    monkeypatch.chdir(tmp_path)
    return [
        f"--config={CONFIGS / 'distill.yaml'}",
        *tiny(teacher_folder, squad_file, tmp_path, "DistillationModule"),
        *("--data.batch_size=4", "--trainer.log_every_n_steps=1", "--last_checkpoint.every_n_steps=2"),
        *("--schedule.stages.intermediate.epochs=1", "--schedule.stages.logits.epochs=1"),
    ]


@pytest.fixture
def stopped(arguments, monkeypatch, capsys) -> Path:
    """A run that was stopped at its fourth step, and said so."""
    install = "distill.callbacks.random_state.RandomState.on_train_batch_start"
    with monkeypatch.context() as patch:
        patch.setattr(install, lambda _, *hook: Terminate(3).on_train_batch_start(*hook))
        with pytest.raises(SystemExit) as info:
            main(["fit", *arguments])
    assert info.value.code == 128 + signal.SIGTERM
    assert "stopped by SIGTERM at step 4" in capsys.readouterr().err
    return Path("lightning_logs") / "distill" / "version_0"


def test_interrupt_while_something_loads_ends_with_one_line(arguments, monkeypatch, capsys):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("distill.cli.DistillCLI.instantiate_classes", interrupt)
    with pytest.raises(SystemExit) as info:
        main(["fit", *arguments])
    assert info.value.code == 128 + signal.SIGINT
    assert capsys.readouterr().err.splitlines()[-1] == "fit: stopped by Ctrl-C"
    assert not Path("lightning_logs").exists()


def status(run: Path) -> dict:
    return json.loads((run / "status.json").read_text(encoding="utf-8"))


def test_stopped_run_goes_on_in_its_folder(stopped, arguments):
    before = status(stopped)
    assert before["state"] == "stopped"
    assert before["ended"].startswith("stopped by SIGTERM at step 4, resume with --ckpt_path")
    end = json.loads((stopped / "report.json").read_text(encoding="utf-8"))
    assert end == {"status": "stopped", "ended": before["ended"], "step": 4, "stage": "intermediate"}
    assert read_run(stopped).scores("student") == {}
    main(["fit", *arguments, "--ckpt_path=auto"])
    assert [folder.name for folder in stopped.parent.iterdir()] == ["version_0"]
    after = status(stopped)
    assert (after["state"], after["resumed_at"], after["wandb_id"]) == ("finished", [4], before["wandb_id"])
    assert before["wandb_id"] is not None
    report = json.loads((stopped / "report.json").read_text(encoding="utf-8"))
    assert report["status"] == "finished"
    assert report["ended"] == f"finished at step {after['step']}"
    losses = read_curves(stopped / "metrics.csv")["train/loss"]
    assert [step for step, _ in losses] == list(range(after["step"]))


def test_checkpoint_that_the_configuration_refuses_leaves_the_run_as_it_is(stopped, arguments, capsys):
    before = {name: (stopped / name).read_bytes() for name in ("config.yaml", "status.json", "metrics.csv")}
    last = stopped / "checkpoints" / "last.ckpt"
    sizes = {"num_layers": 2, "hidden_size": 4, "num_heads": 2, "intermediate_size": 8}
    with pytest.raises(SystemExit) as info:
        main(["fit", *arguments, f"--ckpt_path={last}", f"--model.student={sizes}"])
    assert info.value.code == 1
    assert "of another model" in capsys.readouterr().err.splitlines()[-1]
    assert {name: (stopped / name).read_bytes() for name in before} == before
    main(["fit", *arguments, "--ckpt_path=auto"])
    assert status(stopped)["state"] == "finished"


def test_changed_training_data_is_refused_and_leaves_the_run_as_it_is(stopped, arguments, squad_file, capsys):
    before = {name: (stopped / name).read_bytes() for name in ("config.yaml", "status.json", "metrics.csv")}
    questions = squad_file.read_text(encoding="utf-8")
    squad_file.write_text(questions.replace("¿Cuándo murió", "¿Cuándo nació"), encoding="utf-8")
    with pytest.raises(SystemExit) as info:
        main(["fit", *arguments, "--ckpt_path=auto"])
    assert info.value.code == 1
    assert "data: the training data has changed since" in capsys.readouterr().err.splitlines()[-1]
    assert {name: (stopped / name).read_bytes() for name in before} == before
    squad_file.write_text(questions, encoding="utf-8")
    main(["fit", *arguments, "--ckpt_path=auto"])
    assert status(stopped)["state"] == "finished"


def test_run_that_another_process_works_on_is_refused_and_left_as_it_is(stopped, arguments, monkeypatch, capsys):
    before = status(stopped)
    monkeypatch.setattr("distill.callbacks.status.lock_run", lambda _: None)  # a lock is never against its own process
    with pytest.raises(SystemExit) as info:
        main(["fit", *arguments, f"--ckpt_path={stopped / 'checkpoints' / 'last.ckpt'}"])
    assert info.value.code == 1
    assert "another process is working on this run" in capsys.readouterr().err.splitlines()[-1]
    assert status(stopped) == before


def test_full_disk_ends_with_one_line_and_the_last_checkpoint_whole(arguments, monkeypatch, capsys):
    fsync = os.fsync

    def fill(descriptor) -> None:
        file = Path(f"/proc/self/fd/{descriptor}").readlink()
        if file.name == ".last.ckpt.partial" and file.with_name("last.ckpt").exists():
            raise OSError(errno.ENOSPC, "No space left on device")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", fill)
    with pytest.raises(SystemExit) as info:
        main(["fit", *arguments])
    assert info.value.code == 1
    error = capsys.readouterr().err
    assert "Traceback" not in error
    last = Path("lightning_logs/distill/version_0/checkpoints/last.ckpt")
    assert re.search(
        rf"error: .*last\.ckpt: the checkpoint cannot be written: No space .* --ckpt_path \S*{last}", error
    )
    assert status(last.parents[1])["state"] == "failed"
    end = json.loads((last.parents[1] / "report.json").read_text(encoding="utf-8"))
    assert (end["status"], end["ended"]) == ("failed", status(last.parents[1])["ended"])
    assert load_checkpoint(last)["global_step"] == 2
