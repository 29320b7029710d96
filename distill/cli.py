"""The command line: ``fit``, ``validate``, ``test``, ``predict`` and ``export`` of a module on data, and the tools."""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Mapping
from importlib import import_module
from inspect import getdoc
from pathlib import Path
from typing import Any, NoReturn

import lightning as L
import torch
import transformers
from jsonargparse import auto_cli
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
from distill.callbacks.page import ResultPage
from distill.callbacks.progress import StageProgressBar
from distill.callbacks.report import Report
from distill.callbacks.samples import SamplePredictions
from distill.callbacks.saving import SaveStudent
from distill.callbacks.stages import StageSchedule
from distill.callbacks.throughput import Throughput
from distill.data.base import TaskDataModule
from distill.export.trainer import ExportTrainer
from distill.links import link_settings, refuse_linked
from distill.models.loading import first_line
from distill.modules.run import RunModule
from distill.processor import fast_precision, prepare_processor
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
    "doctor": Doctor,
    "last_checkpoint": LastCheckpoint,
    "best_checkpoint": BestInFinalStage,
    "throughput": Throughput,
    "benchmark": LatencyBenchmark,
    "report": Report,
    "samples": SamplePredictions,
    "saving": SaveStudent,
    "page": ResultPage,
    "dashboard": WandbDashboard,
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


class _BriefParser(LightningArgumentParser):
    """Says what is wrong, and only that."""

    def print_usage(self, file: Any = None) -> None:
        """Print nothing: the usage is three screens long and would bury the message."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """End with exit code 2 and our own message where there is one, else the essence of the parser's."""
        mistake = _user_error(ex)
        super().error(str(mistake) if mistake is not None else _essence(message), None)
        raise AssertionError("the parser exits")


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
            parser_class=_BriefParser,
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
        """Parse the command line; refuse what would be overruled in silence."""
        super().parse_arguments(parser, args)
        given = self.config[self.config["subcommand"]]
        try:
            refuse_linked(sys.argv[1:] if args is None else args, [Path(path) for path in given.get("config") or ()])
        except UserError as error:
            parser.error(str(error))

    def before_instantiate_classes(self) -> None:
        """Settle the precision, so that the saved configuration says in which one the run computes."""
        trainer_config = self.config[self.subcommand].trainer
        device_type = _device_type(trainer_config)
        if trainer_config.precision is None:
            trainer_config.precision = fast_precision(device_type)
        elif "16" in str(trainer_config.precision) and fast_precision(device_type) == "32-true":
            rank_zero_warn(
                f"trainer.precision: without bfloat16 units this {device_type} emulates {trainer_config.precision}, "
                "many times slower than 32-true; leave it out to have the fast one chosen"
            )

    def instantiate_classes(self) -> None:
        """Build module, data module and trainer; what they refuse ends with exit code 2 before anything loads."""
        try:
            super().instantiate_classes()
            self._check()
        except (ValueError, MisconfigurationException) as error:
            mistake = _user_error(error) or (error if isinstance(error, MisconfigurationException) else None)
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
        if trainer_config.get("strategy") == "auto" and _several_processes(trainer_config):
            # Stages leave parts idle: the head in one, the projections in another.
            trainer_config["strategy"] = "ddp_find_unused_parameters_true"
        prepare_processor()
        return super().instantiate_trainer(**kwargs)

    def _parse_ckpt_path(self) -> None:
        """Leave the configuration as it is: Lightning would put the checkpoint's hyperparameters over it, unsaid."""

    def _check(self) -> None:
        """Check what several parts must agree on.

        Raises:
            UserError: If they do not.
        """
        settings = self.config_init[self.subcommand]
        logger = self.trainer.logger
        if logger is not None and not self.trainer.fast_dev_run and not isinstance(logger, CSVLogger):
            raise UserError("trainer.logger: list a CSVLogger first; its folder is where the run's files go")
        if self.subcommand == "fit":
            settings.schedule.check(self.model.terms, list(getattr(self.datamodule, "others", ())))
            for name, stage in settings.schedule.stages.items():
                self.model.check_stage(name, stage)
        self.datamodule.take_tasks({name: member.task for name, member in self.model.members.items()})
        checkpoint = settings.get("ckpt_path")
        # An export may take the student from a folder, and checks that itself.
        if checkpoint is None and self.subcommand not in ("fit", "export") and self.model.starts_at_random:
            raise UserError(f"{self.subcommand}: the student's weights are random; name a run's with --ckpt_path")
        if checkpoint is not None and checkpoint not in _CHECKPOINT_WORDS and not Path(checkpoint).is_file():
            raise UserError(f"--ckpt_path {checkpoint}: there is no such file")
        self.datamodule.check()
        self.model.check_data(self.datamodule)
        if self.subcommand == "fit":
            for name, stage in settings.schedule.stages.items():
                if stage.data is not None and self.model.objective.plans(stage.weights)[0].logits:
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


def _several_processes(trainer_config: Mapping[str, Any]) -> bool:
    """Whether a trainer configured so would run on several devices."""
    devices = trainer_config.get("devices")
    if devices in ("auto", -1, "-1", None):
        count = torch.cuda.device_count() if trainer_config.get("accelerator") in ("auto", "gpu", "cuda") else 1
    else:
        count = len(devices) if isinstance(devices, list) else int(devices)
    return count > 1 or (trainer_config.get("num_nodes") or 1) > 1


def _user_error(error: BaseException | None) -> UserError | None:
    """Return the mistake that an error goes back to; the parser wraps what constructors raise."""
    while error is not None and not isinstance(error, UserError):
        error = error.__cause__ or error.__context__
    return error


def _essence(message: str) -> str:
    """Return the parser's message without the alternatives that were never meant and the echo of the whole value.

    A value that fits none of several types is explained once for each; None is always one of them.
    """
    lines = [line for line in message.split("Given value type:")[0].splitlines() if line.strip()]
    noise = ("Does not validate against any", "Subtypes:", "Errors:", "Expected a <class 'NoneType'>")
    kept = [line.strip().removeprefix("- ") for line in lines if not line.strip().removeprefix("- ").startswith(noise)]
    essence = " ".join(kept)
    if essence.endswith("fit.data, fit.model"):
        essence += ": name a configuration, such as --config configs/distill.yaml"
    return essence


def _quieten_libraries() -> None:
    """Switch off what libraries say about themselves and nobody can act on."""
    transformers.utils.logging.disable_progress_bar()  # two bars for files of a few megabytes
    logging.getLogger("lightning.pytorch.utilities.rank_zero").addFilter(
        lambda record: "litlogger" not in record.getMessage()
    )
    for message in (
        r".*isinstance\(treespec, LeafSpec\)",  # Lightning's own use of a deprecated torch function
        r".*is not supported by the model summary",  # the summary counts parameters all the same
        r".*does not have many workers",  # windows are read from memory-mapped files, faster than workers start
        r".*predict returned None",  # answers go into a file
        r".*The dirpath has changed from",  # a checkpoint of another run's folder is what was asked for
        r".*skip_none parameter was deprecated",  # Lightning's own call of jsonargparse
        r".*It is recommended to use `self.log\('(val|test)/.*sync_dist",  # scores are equal on every process already
    ):
        warnings.filterwarnings("ignore", message)


def _run_tool(name: str, args: list[str]) -> None:
    """Run a command that needs no Trainer."""
    function = getattr(import_module(TOOLS[name]), name)
    auto_cli(
        function,
        args=args,
        as_positional=False,
        parser_class=_BriefParser,
        prog=f"{Path(sys.argv[0]).name} {name}",
        description=(getdoc(function) or "").split("\n\nArgs:")[0],
    )


def main(args: list[str] | None = None) -> None:
    """Run the command line; a mistake in the data ends with one line and exit code 1."""
    _quieten_libraries()
    command, *rest = (sys.argv[1:] if args is None else args) or [""]
    try:
        if command in TOOLS:
            _run_tool(command, rest)
        else:
            DistillCLI(args)
    except UserError as error:
        sys.stderr.write(f"error: {error}\n")
        sys.exit(1)
