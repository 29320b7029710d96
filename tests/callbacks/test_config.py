"""The resolved configuration in files and loggers."""

from __future__ import annotations

import yaml
from lightning.pytorch.cli import LightningCLI
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.loggers.logger import DummyLogger

from distill.callbacks.config import LoggedConfigCallback

from .fakes import FakeModule


class RecordingLogger(DummyLogger):
    """Keeps the hyperparameters that it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.hyperparameters = []

    def log_hyperparams(self, params, *_) -> None:
        self.hyperparameters.append(params)


def fit(folder, **trainer):
    settings = {
        "max_epochs": 1, "accelerator": "cpu", "enable_progress_bar": False, "enable_model_summary": False,
        "enable_checkpointing": False, "num_sanity_val_steps": 0, "default_root_dir": str(folder),
    }  # fmt: skip
    LightningCLI(
        FakeModule,
        save_config_callback=LoggedConfigCallback,
        trainer_defaults={**settings, **trainer},
        seed_everything_default=3,
        args=["fit", "--model.with_teacher=false"],
    )


def test_config_is_saved_and_an_old_one_replaced(tmp_path):
    (tmp_path / "config.yaml").write_text("old: true\n", encoding="utf-8")
    fit(tmp_path, logger=False)
    config = yaml.safe_load((tmp_path / "config.yaml").read_text(encoding="utf-8"))
    assert config["seed_everything"] == 3
    assert config["model"]["with_teacher"] is False
    assert "old" not in config


def test_config_lies_in_the_run_folder_and_reaches_the_other_loggers(tmp_path, recwarn):
    logger = RecordingLogger()
    fit(tmp_path, logger=[CSVLogger(tmp_path, name="", version="run"), logger])
    assert (tmp_path / "run" / "config.yaml").is_file()
    sent = next(params for params in logger.hyperparameters if "seed_everything" in params)
    assert sent["model"] == {"with_teacher": False}
    assert not [warning for warning in recwarn if "not empty" in str(warning.message)]


def test_a_trial_run_saves_nothing(tmp_path):
    fit(tmp_path, fast_dev_run=True)
    assert list(tmp_path.rglob("config.yaml")) == []
