"""The resolved configuration, in the run's folder and in the loggers."""

from __future__ import annotations

from typing import Any

import lightning as L
import yaml
from lightning.pytorch.cli import LightningArgumentParser, SaveConfigCallback
from lightning.pytorch.loggers import CSVLogger

from distill.files import write_text
from distill.reporting.files import run_folder


class LoggedConfigCallback(SaveConfigCallback):
    """Saves the resolved ``config.yaml`` into the run's folder and sends it to the loggers as hyperparameters.

    An existing file is replaced as a whole, so a run that goes on in its old folder is not refused. A
    ``fast_dev_run`` saves nothing.

    Args:
        parser: The parser of the running command.
        config: The configuration as parsed.
        config_filename: Name of the file.
        kwargs: Further settings of Lightning's callback.
    """

    def __init__(
        self,
        parser: LightningArgumentParser,
        config: Any,
        config_filename: str = "config.yaml",
        **kwargs: Any,
    ) -> None:
        # Lightning's own saving is off: it refuses an existing file or rewrites it in place.
        super().__init__(parser, config, config_filename, **{**kwargs, "save_to_log_dir": False})

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Settle the folder; nothing is saved before the checkpoint has been taken.

        A command that its checkpoint refuses must not replace the run's own configuration, or leave a run behind.
        """
        self._folder = run_folder(trainer)  # asked on every process, since it may be agreed among them
        self._stage: str | None = stage

    def _save_once(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if self._stage is not None:
            super().setup(trainer, pl_module, self._stage)
            self._stage = None

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Save the configuration of a fit."""
        self._save_once(trainer, pl_module)

    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Save the configuration of a validation by itself."""
        self._save_once(trainer, pl_module)

    def on_test_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Save the configuration of a test."""
        self._save_once(trainer, pl_module)

    def on_predict_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Save the configuration of predictions."""
        self._save_once(trainer, pl_module)

    def save_config(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Write the file and log the hyperparameters, on the first process."""
        text = self.parser.dump(self.config, skip_none=False)
        for logger in trainer.loggers:
            # Its folder is that of config.yaml, which says the same.
            if not isinstance(logger, CSVLogger):
                logger.log_hyperparams(yaml.safe_load(text))
        if self._folder is not None:
            write_text(self._folder / self.config_filename, text)
