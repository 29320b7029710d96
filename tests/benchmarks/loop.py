"""What the whole command adds to a training step: the Trainer with all callbacks and loggers, against a bare loop.

Both train the module that ``configs/distill.yaml`` describes on the same batches of the embedded data, in one process
and in turns, step by step, so that a busy machine slows both alike. A step is everything from one batch to the next:

    python -m tests.benchmarks.loop --output loop.json

The second stage reads the teacher's logits, which its first run stores beside the tokenised windows.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import chdir, suppress
from itertools import count
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from distill.cli import DistillCLI
from distill.data.training import TrainingLoader
from distill.entry import run_function
from distill.files import write_json
from distill.quiet import quieten_libraries
from distill.reporting.environment import describe_environment
from distill.stages import StagePlan
from distill.teaching.teachers import TeachingRun

from .training import CLOCKS, spread

CONFIG = Path(__file__).parents[2] / "configs" / "distill.yaml"
MAX_NORM = 1.0


class Finished(Exception):  # noqa: N818 - no error
    """Ends the fit, once all steps are timed."""


class Turns:
    """Lets a bare loop take a step after each of the Trainer's, and times both.

    Args:
        bare: The bare loop, a step an item.
        warmup: Steps of each that are not timed.
        steps: Steps of each that are.
    """

    def __init__(self, bare: Iterator[None], warmup: int, steps: int) -> None:
        self._bare, self._warmup, self._steps = bare, warmup, steps
        self.seconds: dict[str, dict[str, list[float]]] = {c: {"trainer": [], "bare": []} for c in CLOCKS}
        self._seen = 0
        self._start = _now()

    def __call__(self) -> None:
        """Take the bare loop's turn, at the end of one of the Trainer's steps."""
        self._note("trainer")
        self._start = _now()
        next(self._bare)
        self._note("bare")
        self._seen += 1
        if self._seen > self._warmup + self._steps:
            raise Finished
        self._start = _now()

    def _note(self, loop: str) -> None:
        if self._seen > self._warmup:
            for clock, end in _now().items():
                self.seconds[clock][loop].append(end - self._start[clock])


class TimedAdamW(torch.optim.AdamW):
    """The Trainer's optimizer, after whose steps the bare loop takes its turn."""

    turns: Turns | None = None

    def __init__(self, params: Any, weight_decay: float = 0.01) -> None:
        super().__init__(params, weight_decay=weight_decay, fused=True)
        if (turns := self.turns) is not None:
            self.register_step_post_hook(lambda *_: turns())


class Built(DistillCLI):
    """The command up to the beginning of the fit."""

    def _run_subcommand(self, subcommand: str) -> None:
        """Do nothing."""


def bare_loop(command: DistillCLI) -> Iterator[None]:
    """Train the module of a command of one stage by hand, a step an item; the first item is the end of preparations."""
    module, data = command.model, command.datamodule
    data.trainer = command.trainer  # which decides how far windows are padded
    data.setup("fit")
    module.configure_model()
    loader: TrainingLoader = data.train_dataloader()
    (stage,) = (stage for stage in command.config_init.fit.schedule.stages.values() if stage is not None)
    plan = StagePlan({"only": stage}, len(loader))
    run = TeachingRun(loader.dataset, Path(data.cache_dir), torch.device("cpu"), str(command.trainer.precision))  # type: ignore[arg-type]
    module._teachers.prepare(module.objective.plans(stage.weights)[1], run)
    module.train()
    optimizer = module.configure_optimizers()
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    yield
    step = 0
    for epoch in count():
        loader.set_epoch(epoch)
        for batch in loader:
            for group in optimizer.param_groups:
                group["lr"] = plan.stage_at(step).learning_rate
            shares = module.shares(batch, stage.weights, stage.temperature)
            loss = torch.stack([stage.weights[name] * share.loss for name, share in shares.items()]).sum()
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(parameters, MAX_NORM)
            optimizer.step()
            step += 1
            yield


def time_stage(stage: str, settings: list[str], warmup: int, steps: int) -> dict[str, dict[str, list[float]]]:
    """Return the seconds of every step of a stage, by clock and loop."""
    other = {"intermediate": "logits", "logits": "intermediate"}[stage]
    with tempfile.TemporaryDirectory() as folder, chdir(folder):
        args = [
            "fit", "--config", str(CONFIG), f"--schedule.stages.{other}", "null", *settings,
            "--model.optimizer", f"{__name__ if __name__ != '__main__' else 'tests.benchmarks.loop'}.TimedAdamW",
        ]  # fmt: skip
        from tests.benchmarks.loop import Finished, TimedAdamW, Turns  # those that the command imports

        TimedAdamW.turns = None
        turns = Turns(bare_loop(Built(args)), warmup, steps)
        next(turns._bare)
        TimedAdamW.turns = turns
        with suppress(Finished):
            DistillCLI(args)
    return turns.seconds


def _now() -> dict[str, float]:
    return {"processor": time.process_time(), "wall": time.perf_counter()}


def main(output: str = "loop.json", warmup: int = 5, steps: int = 60, settings: list[str] | None = None) -> None:
    """Time both loops in both stages, print the table and write it as JSON.

    Args:
        output: JSON file to write.
        warmup: Steps of each loop beforehand.
        steps: Timed steps of each loop.
        settings: Further options of the command, such as ``["--data.cache_dir", "FOLDER"]``.
    """
    torch.set_num_threads(1)
    os.environ["WANDB_MODE"] = "offline"
    quieten_libraries()
    target = Path(output).absolute()
    table = Table(title="The Trainer with all callbacks over a bare loop")
    for column in ("stage", "bare, ms", "trainer, ms", "ratio", "wall ratio"):
        table.add_column(column, justify="left" if column == "stage" else "right")
    result: dict[str, Any] = {"environment": describe_environment("cpu")}
    for stage in ("intermediate", "logits"):
        seconds = time_stage(stage, settings or [], warmup, steps)
        ratios = {
            clock: spread([a / b for a, b in zip(loops["trainer"], loops["bare"], strict=True)])
            for clock, loops in seconds.items()
        }
        result[stage] = {"ratios": ratios, "seconds": seconds}
        cells = [f"{1e3 * spread(seconds['processor'][loop])['median']:,.1f}" for loop in ("bare", "trainer")]
        form = "{median:.3f} ({lower_quartile:.3f} to {upper_quartile:.3f})"
        table.add_row(stage, *cells, *(form.format(**ratios[clock]) for clock in CLOCKS))
    write_json(target, result)
    Console().print(table)


if __name__ == "__main__":
    run_function(main)
