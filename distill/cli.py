"""The command line: ``fit``, ``validate``, ``test``, ``predict`` and ``export`` of a module on data, and the tools."""

from __future__ import annotations

import signal
import sys
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import ProgressBar
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.utilities import rank_zero_warn
from lightning.pytorch.utilities.exceptions import MisconfigurationException

from distill.callbacks.benchmark import LatencyBenchmark
from distill.callbacks.checkpoints import BestInFinalStage, LastCheckpoint
from distill.callbacks.config import LoggedConfigCallback
from distill.callbacks.dashboard import WandbDashboard
from distill.callbacks.doctor import Doctor
from distill.callbacks.guard import NumericalGuard
from distill.callbacks.page import ResultPage
from distill.callbacks.plugins import with_safe_plugins
from distill.callbacks.progress import StageProgressBar
from distill.callbacks.random_state import RandomState
from distill.callbacks.report import Report
from distill.callbacks.samples import SamplePredictions
from distill.callbacks.saving import SaveStudent
from distill.callbacks.signals import RunStopped, SignalStop
from distill.callbacks.stages import StageSchedule
from distill.callbacks.status import StatusFile
from distill.callbacks.throughput import Throughput
from distill.data.base import TaskDataModule
from distill.distributed.ending import is_started_by_lightning, let_first_process_end
from distill.distributed.layout import lay_out
from distill.entry import call_function
from distill.export.trainer import ExportTrainer
from distill.links import link_settings, refuse_linked
from distill.mistakes import environment_error
from distill.models.loading import first_line
from distill.modules.run import RunModule
from distill.parser import BriefParser, user_error
from distill.processor import fast_precision, prepare_processor
from distill.quiet import quieten_libraries
from distill.resuming import go_on
from distill.settings import check_checkpoint, check_encoding, check_run
from distill.suggestions import did_you_mean
from distill.types import UserError

#: What every run shares unless its configuration says otherwise.
TRAINER_DEFAULTS: dict[str, Any] = {
    "max_epochs": -1,  # the stages end the run
    "use_distributed_sampler": False,  # ours neither repeats nor drops evaluation windows
    "num_sanity_val_steps": 0,  # scores need whole data sets
}

#: The callbacks of every run, in the order in which they act, and the name under which each is configured.
CALLBACKS: dict[str, type[L.Callback]] = {
    "schedule": StageSchedule,
    "random_state": RandomState,  # before the guard, which keeps what a batch draws
    "guard": NumericalGuard,
    "doctor": Doctor,
    "best_checkpoint": BestInFinalStage,
    "last_checkpoint": LastCheckpoint,  # which keeps what the best score is
    "throughput": Throughput,
    "benchmark": LatencyBenchmark,
    "report": Report,
    "samples": SamplePredictions,
    "saving": SaveStudent,
    "page": ResultPage,
    "dashboard": WandbDashboard,
    "status": StatusFile,
    "stop": SignalStop,
}


#: Commands that need no Trainer: each is a function whose arguments are the options, imported when it is called.
TOOLS: dict[str, str] = {
    "answer": "distill.answering.command",
    "augment": "distill.augmentation.command",
    "cloze": "distill.augmentation.command",
    "demo": "distill.demo.command",
}

#: Words that Lightning takes in place of a checkpoint's path.
_CHECKPOINT_WORDS = {"best", "last", "hpc", "registry"}


class DistillCLI(LightningCLI):
    """LightningCLI with our defaults, the tokenizer linked to the model, and one-line errors."""

    def __init__(self, args: list[str] | None = None) -> None:
        super().__init__(
            RunModule,
            TaskDataModule,
            subclass_mode_model=True,
            subclass_mode_data=True,
            save_config_callback=LoggedConfigCallback,
            trainer_class=ExportTrainer,
            trainer_defaults=TRAINER_DEFAULTS,
            seed_everything_default=42,
            auto_configure_optimizers=False,
            parser_class=BriefParser,
            parser_kwargs={"epilog": f"Without a Trainer: {', '.join(TOOLS)}; each has its own --help."},
            args=args,
        )

    def _prepare_subcommand_parser(self, *args: Any, **kwargs: Any) -> LightningArgumentParser:
        """Keep Lightning from printing scores that the result table shows already."""
        parser = super()._prepare_subcommand_parser(*args, **kwargs)
        if args[1] in ("validate", "test"):
            parser.set_defaults(verbose=False)
        return parser

    @staticmethod
    def subcommands() -> dict[str, set[str]]:
        """Return Lightning's commands and our own, each with the arguments that are no options of it."""
        return {**LightningCLI.subcommands(), "export": {"model", "datamodule"}}

    def before_export(self) -> None:
        """Give the model card the resolved configuration."""
        parser, config = self._parser(self.subcommand), self.config[self.subcommand]
        self.trainer.resolved_config = parser.dump(config, skip_none=False)

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Give every run its callbacks, and link what must agree: the data is cut by the tokenizer of the model.

        As groups of their own rather than items of ``trainer.callbacks`` they can be changed one setting at a time,
        from a second configuration or the command line, and cannot be lost when that list is replaced.
        """
        for name, callback in CALLBACKS.items():
            parser.add_lightning_class_args(callback, name)
        link_settings(parser)

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Parse the command line; refuse what is no text, would be overruled in silence, or makes Lightning stumble."""
        words = sys.argv[1:] if args is None else args
        try:
            check_encoding(words)
            super().parse_arguments(parser, args)
            given = self.config[self.config["subcommand"]]
            refuse_linked(words, [Path(path) for path in given.get("config") or ()])
            check_run(given)
        except UserError as error:
            parser.error(str(error))

    def before_instantiate_classes(self) -> None:
        """Settle the precision, so that the saved configuration says it, and the folder of a run that goes on."""
        config = self.config[self.subcommand]
        trainer_config = config.trainer
        device_type = _device_type(trainer_config)
        if trainer_config.precision is None:
            trainer_config.precision = fast_precision(device_type)
        elif "16" in str(trainer_config.precision) and fast_precision(device_type) == "32-true":
            rank_zero_warn(
                f"trainer.precision: without bfloat16 units this {device_type} emulates {trainer_config.precision}, "
                "many times slower than 32-true; leave it out to have the fast one chosen"
            )
        if self.subcommand == "fit" and config.ckpt_path is not None and not config.trainer.fast_dev_run:
            go_on(config, self._parser(self.subcommand).dump(config, skip_none=False))

    def before_fit(self) -> None:
        """Have signals end the run in order, also before training."""
        for callback in self.trainer.callbacks:
            if isinstance(callback, SignalStop):
                callback.install()

    def instantiate_classes(self) -> None:
        """Build module, data module and trainer; what they refuse ends with exit code 2 before anything loads."""
        try:
            super().instantiate_classes()
            self._check()
        except (ValueError, MisconfigurationException) as error:
            mistake = user_error(error) or (error if isinstance(error, MisconfigurationException) else None)
            if mistake is None:
                raise
            self.parser.error(first_line(mistake))

    def instantiate_trainer(self, **kwargs: Any) -> L.Trainer:
        """Build the trainer, with the stage in its progress bar unless bars are off."""
        trainer_config = self._get(self.config_init, "trainer", default={})
        callbacks = list(trainer_config.get("callbacks") or [])
        if trainer_config.get("enable_progress_bar") is not False and not any(
            isinstance(callback, ProgressBar) for callback in callbacks
        ):
            callbacks.append(StageProgressBar(leave=True))
        trainer_config["callbacks"] = callbacks
        lay_out(trainer_config)
        trainer_config["plugins"] = with_safe_plugins(trainer_config.get("plugins"))
        prepare_processor()
        try:
            return super().instantiate_trainer(**kwargs)
        except (ValueError, TypeError, RuntimeError, ImportError) as error:
            raise user_error(error) or UserError(f"trainer: {first_line(error)}") from error

    def _parse_ckpt_path(self) -> None:
        """Leave the configuration as it is: Lightning would put the checkpoint's hyperparameters over it, unsaid."""

    def _check(self) -> None:
        """Check what several parts must agree on.

        Raises:
            UserError: If they do not.
        """
        settings = self.config_init[self.subcommand]
        if not (self.trainer.fast_dev_run or isinstance(self.trainer.logger, CSVLogger | None)):
            raise UserError("trainer.logger: list a CSVLogger first; its folder is where the run's files go")
        if self.subcommand == "fit":
            self.model.check_optimizer()
            settings.schedule.check(self.model.terms, list(getattr(self.datamodule, "others", ())))
        checkpoint = settings.get("ckpt_path")
        # An export may take the student from a folder, and checks that itself.
        if checkpoint is None and self.subcommand not in ("fit", "export") and self.model.starts_at_random:
            raise UserError(f"{self.subcommand}: the student's weights are random; name a run's with --ckpt_path")
        if checkpoint is not None and checkpoint not in _CHECKPOINT_WORDS:
            check_checkpoint(Path(checkpoint))
        self.model.tell_tasks(self.datamodule)
        self.datamodule.check()
        self.model.check_data(self.datamodule)
        if self.subcommand == "fit":
            self.model.check_stages(settings.schedule.stages)
            for name, stage in settings.schedule.stages.items():
                is_other = stage.data is not None and not self.datamodule.has_labels(stage.data)
                if is_other and self.model.objective.plans(stage.weights)[0].logits:
                    raise UserError(
                        f"stage {name!r}: data {stage.data!r} has no labels of the task {self.model.task.name}; "
                        "weigh losses on layers alone"
                    )


def _device_type(trainer_config: Mapping[str, Any]) -> str:
    """Return what a trainer configured so would run on, as torch names it."""
    accelerator = str(trainer_config.get("accelerator") or "auto")
    if accelerator == "auto":
        accelerator = "gpu" if torch.cuda.is_available() else "cpu"
    return "cuda" if accelerator == "gpu" and torch.cuda.is_available() else accelerator


def _run_tool(name: str, args: list[str]) -> None:
    """Run a command that needs no Trainer."""
    call_function(getattr(import_module(TOOLS[name]), name), args, f"{Path(sys.argv[0]).name} {name}")


def _check_command(name: str) -> None:
    """Refuse a command that there is none of."""
    known = [*LightningCLI.subcommands(), "export", *TOOLS]
    if name and not name.startswith("-") and name not in known:
        sys.stderr.write(f"error: no command {name!r}: choose among {', '.join(known)}{did_you_mean(name, known)}\n")
        sys.exit(2)


def main(args: list[str] | None = None) -> None:
    """Run the command line; a mistake in the data ends with one line and exit code 1."""
    quieten_libraries()
    command, *rest = (sys.argv[1:] if args is None else args) or [""]
    _check_command(command)
    try:
        if command in TOOLS:
            _run_tool(command, rest)
        else:
            DistillCLI(args)
    except RunStopped as stop:
        sys.stderr.write(f"{stop}{'; go on with --ckpt_path auto' if stop.is_saved else ''}\n")
        # Lightning would kill the first process, which may still be writing, if one that it has started failed.
        sys.exit(0 if is_started_by_lightning() else 128 + stop.signal)
    except KeyboardInterrupt:  # while something loads, or in a command that has nothing to save
        sys.stderr.write(f"{command}: stopped by Ctrl-C\n")
        sys.exit(128 + signal.SIGINT)
    except Exception as error:
        # What fails while a run is being ended may hide what ended it.
        mistake = user_error(error) or environment_error(error)
        if mistake is not None:
            sys.stderr.write(f"error: {first_line(mistake)}\n")
        let_first_process_end()
        if mistake is None:
            raise
        sys.exit(1)
