"""The command line: ``fit``, ``validate``, ``test`` and ``predict`` of a module on a data module, from YAML."""

from __future__ import annotations

import sys
from typing import Any

import lightning as L
import torch
from jsonargparse import Namespace
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI

from distill.callbacks.config import LoggedConfigCallback
from distill.callbacks.progress import StageProgressBar
from distill.callbacks.stages import StageSchedule
from distill.data.datamodule import SquadDataModule
from distill.models.loading import EMBEDDED
from distill.modules.base import TaskModule
from distill.types import UserError

#: What every run shares unless its configuration says otherwise.
TRAINER_DEFAULTS: dict[str, Any] = {
    "max_epochs": -1,  # the stages end the run
    "use_distributed_sampler": False,  # ours neither repeats nor drops evaluation windows
    "num_sanity_val_steps": 0,  # scores need whole data sets
}


class _BriefParser(LightningArgumentParser):
    def print_usage(self, file: Any = None) -> None:
        """Print nothing: the usage is three screens long and would bury the message."""


class DistillCLI(LightningCLI):
    """LightningCLI with our defaults, the tokenizer linked to the model, and one-line errors."""

    def __init__(self, args: list[str] | None = None) -> None:
        super().__init__(
            TaskModule,
            SquadDataModule,
            subclass_mode_model=True,
            subclass_mode_data=True,
            save_config_callback=LoggedConfigCallback,
            trainer_defaults=TRAINER_DEFAULTS,
            seed_everything_default=42,
            auto_configure_optimizers=False,
            parser_class=_BriefParser,
            args=args,
        )

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Link what must agree: the data is cut by the tokenizer of the model."""
        parser.link_arguments("model", "data.init_args.tokenizer", compute_fn=_tokenizer_of)

    def instantiate_classes(self) -> None:
        """Build module, data module and trainer; a value that a constructor refuses ends with exit code 2."""
        try:
            super().instantiate_classes()
            self._check_stages()
            self.datamodule.check()
            self.model.check(self.datamodule.max_length)
        except UserError as error:
            self.parser.error(str(error))

    def instantiate_trainer(self, **kwargs: Any) -> L.Trainer:
        """Build the trainer, with the stage in its progress bar unless bars are off."""
        trainer_config = self._get(self.config_init, "trainer", default={})
        bar = [] if trainer_config.get("enable_progress_bar") is False else [StageProgressBar(leave=True)]
        trainer_config["callbacks"] = [*(trainer_config.get("callbacks") or []), *bar]
        # Adam's moments of rarely seen embedding rows decay into denormal numbers, which CPUs handle many times slower.
        torch.set_flush_denormal(True)
        return super().instantiate_trainer(**kwargs)

    def _check_stages(self) -> None:
        schedules = [callback for callback in self.trainer.callbacks if isinstance(callback, StageSchedule)]
        if self.subcommand == "fit" and len(schedules) != 1:
            raise UserError(f"trainer.callbacks: exactly one distill.StageSchedule is needed, found {len(schedules)}")
        for schedule in schedules:
            schedule.check(list(self.model.objective.terms))


def _tokenizer_of(model: Namespace) -> str:
    """Return where the model's tokenizer lies: its own setting, else beside the teacher or the model itself."""
    settings = model.get("init_args") or Namespace()
    named = (settings.get(name) for name in ("tokenizer", "teacher", "model"))
    return next((str(source) for source in named if source), EMBEDDED)


def main(args: list[str] | None = None) -> None:
    """Run the command line; a mistake in the data ends with one line and exit code 1."""
    try:
        DistillCLI(args)
    except UserError as error:
        sys.stderr.write(f"error: {error}\n")
        sys.exit(1)
