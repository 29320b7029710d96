"""W&B offline, read back by its own viewer."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import lightning as L
import pytest
import torch
import wandb
from lightning.pytorch.demos.boring_classes import BoringModel
from lightning.pytorch.loggers import CSVLogger
from wandb.errors import CommError

from distill import loggers
from distill.loggers import WandbRun, choose_mode, flatten, has_credentials, log_summary


@pytest.fixture(autouse=True)
def _no_credentials(tmp_path, monkeypatch):
    """A home without credentials, and no run left open."""
    for name in ("WANDB_MODE", "WANDB_API_KEY", "WANDB_IDENTITY_TOKEN_FILE", "WANDB_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    yield
    wandb.finish()


def view(folder: Path) -> dict:
    """Return what W&B's viewer shows of the only run under ``folder``."""
    command = [sys.executable, "-m", "wandb", "leet", "inspect", "--summary", "--json", str(folder / "wandb")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_offline_run_holds_every_metric_in_its_summary(tmp_path):
    class Scored(BoringModel):
        def training_step(self, batch, batch_idx):
            loss = super().training_step(batch, batch_idx)["loss"]
            self.log("train/loss", loss)
            return loss

        def validation_step(self, batch, batch_idx):
            self.log("val/f1", 90.0 - 10 * self.trainer.current_epoch)
            self.log("val/unseen_wording/f1", 40.0)

    folder = tmp_path / "new" / "runs"
    logger = WandbRun(save_dir=str(folder), name="tiny", tags=["test"])
    trainer = L.Trainer(
        max_epochs=2, limit_train_batches=2, limit_val_batches=1, num_sanity_val_steps=0, log_every_n_steps=1,
        logger=logger, accelerator="cpu", enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(Scored())
    logger.log_hyperparams({"model": {"temperature": 4.0, "layers": [1, 2]}, "seed": 1})
    log_summary([logger], {"report/student/f1": 80.0, "report/rule": "text"}, step=4)
    wandb.finish()
    run = view(folder)
    summary = run["summary"]
    assert run["state"] == "finished"
    assert summary["val/f1"] == {"last": 80, "max": 90}
    assert summary["val/unseen_wording/f1"] == 40
    assert isinstance(summary["train/loss"], float)
    assert summary["report/student/f1"] == 80
    assert summary["trainer/global_step"] == 3
    assert "report/rule" not in summary
    assert run["config"]["model.temperature"] == 4
    assert run["config"]["model.layers"] == [1, 2]
    assert run["config"]["seed"] == 1


def test_a_server_out_of_reach_means_offline(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    modes, start = [], wandb.init

    def unreachable(**settings):
        modes.append(settings["mode"])
        if settings["mode"] == "online":
            raise CommError("no answer")
        return start(**settings)

    monkeypatch.setattr(wandb, "init", unreachable)
    with pytest.warns(UserWarning, match="logging offline: no answer"):
        run = WandbRun(save_dir=str(tmp_path)).experiment
    assert modes == ["online", "offline"]
    assert run.offline


def test_an_offline_start_that_fails_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr(wandb, "init", lambda **_: (_ for _ in ()).throw(CommError("broken")))
    with pytest.raises(CommError, match="broken"):
        _ = WandbRun(save_dir=str(tmp_path)).experiment


@pytest.mark.parametrize("status", ["failed", "success"])  # stopped while it loads; ``predict``
@pytest.mark.parametrize("logged", [False, True])
def test_a_run_without_metrics_leaves_nothing_and_is_not_named(tmp_path, caplog, logged, status):
    caplog.set_level("INFO")
    logger = WandbRun(save_dir=str(tmp_path))
    logger.log_hyperparams({"seed": 1})
    assert "wandb sync" not in caplog.text
    if logged:
        logger.log_metrics({"val/f1": 50.0}, step=1)
        logger.log_metrics({"val/f1": 60.0}, step=2)
    logger.finalize(status)
    runs = list(tmp_path.glob("wandb/offline-run-*"))
    assert bool(runs) == (tmp_path / "wandb").exists() == logged
    assert caplog.text.count("wandb sync") == len(runs)
    assert all(str(run) in caplog.text for run in runs)


@pytest.mark.parametrize(
    ("wish", "credentials", "mode"),
    [
        ("", False, "offline"),
        ("", True, "online"),
        ("offline", True, "offline"),
        ("dryrun", True, "offline"),
        ("disabled", True, "disabled"),
        ("disabled", False, "disabled"),
        ("run", True, "online"),
        ("shared", True, "shared"),
    ],
)
def test_mode_follows_the_wish_then_the_credentials(monkeypatch, wish, credentials, mode):
    monkeypatch.setenv("WANDB_MODE", wish)
    monkeypatch.setattr(loggers, "has_credentials", lambda: credentials)
    assert choose_mode() == mode


def test_online_without_credentials_is_offline_with_a_warning(monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "online")
    with pytest.warns(UserWarning, match="wandb login"):
        assert choose_mode() == "offline"


def test_credentials_from_the_environment_or_netrc(tmp_path, monkeypatch):
    assert not has_credentials()
    (tmp_path / "netrc").write_text("machine api.wandb.ai login user password key\n", encoding="utf-8")
    assert has_credentials()
    monkeypatch.setenv("WANDB_BASE_URL", "https://wandb.example.org")
    assert not has_credentials()
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    assert has_credentials()


def test_a_broken_netrc_is_reported_and_passed_over(tmp_path):
    (tmp_path / "netrc").write_text("nonsense here\n", encoding="utf-8")
    with pytest.warns(UserWarning, match="netrc"):
        assert not has_credentials()


def test_flatten_keeps_lists_and_empty_parts():
    assert flatten({"a": {"b": {"c": 1}, "d": [{"e": 2}]}, "f": {}}) == {"a.b.c": 1, "a.d": [{"e": 2}], "f": {}}


def test_summary_of_other_loggers_is_a_row_of_numbers(tmp_path):
    logger = CSVLogger(tmp_path)
    log_summary([logger], {"report/f1": torch.tensor(2.0).item(), "report/rule": "text", "report/flag": True}, step=7)
    logger.save()
    assert Path(logger.log_dir, "metrics.csv").read_text(encoding="utf-8").split() == ["report/f1,step", "2.0,7"]
