"""One training of the comparison: a process of its own, which goes on where an earlier one was killed."""

from __future__ import annotations

import ctypes
import json
import multiprocessing
import os
import shutil
import signal
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from distill.cli import main
from distill.files import write_json
from distill.reporting.status import read_status
from distill.resuming import sound_checkpoint
from distill.types import UserError

from .arms import CONFIGS, command_line
from .clock import COST_FILE, TrainingClock

#: What a finished run is known by; written last.
RESULT_FILE = "result.json"

_SET_PARENT_DEATH_SIGNAL = 1


@dataclass(frozen=True)
class Result:
    """What a run came to.

    Attributes:
        arm: Name of the arm.
        seed: Its seed.
        learning_rate: The highest rate of each of its stages.
        num_steps: Optimizer steps.
        seconds: What training cost, see :class:`~tests.benchmarks.recipes.clock.TrainingClock`.
        validation: The student's scores on the questions that rates and checkpoints are chosen by.
        teacher: The teacher's on the same.
        predictions: Its answers to the test questions, by question id.
    """

    arm: str
    seed: int
    learning_rate: float
    num_steps: int
    seconds: float
    validation: dict[str, float]
    teacher: dict[str, float]
    predictions: dict[str, str]


def read_result(folder: Path) -> Result | None:
    """Return what a finished run came to; nothing where it has not finished."""
    file = folder / RESULT_FILE
    return Result(**json.loads(file.read_text(encoding="utf-8"))) if file.is_file() else None


def train(folder: Path, recipe: str, settings: dict[str, Any], arm: str, seed: int, learning_rate: float) -> Result:
    """Train and test one student, or go on with it, or return what an earlier call came to.

    Args:
        folder: The run's own; what it prints goes to ``log.txt`` in it.
        recipe: The configuration under ``configs/recipes``.
        settings: What is laid over it.
        arm: For the result.
        seed: For the result.
        learning_rate: For the result.

    Raises:
        UserError: If the run fails; the message is the last line of its log.
    """
    if (result := read_result(folder)) is not None:
        return result
    folder.mkdir(parents=True, exist_ok=True)
    if not any(sound_checkpoint(run) for run in (folder / "fit").glob("version_*")):
        # A killed run's, without what storing them cost, which is kept in checkpoints.
        shutil.rmtree(folder / "logits", ignore_errors=True)
    common = [
        f"--config={CONFIGS / recipe}.yaml",
        *command_line({**settings, "model.teacher_cache": {"dtype": "float16", "folder": str(folder / "logits")}}),
        f"--trainer.callbacks+={TrainingClock.__module__}.{TrainingClock.__name__}",
    ]
    in_process([["fit", *common, *logger(folder / "fit"), "--ckpt_path=auto"]], folder / "log.txt")
    fit = finished_run(folder / "fit")
    best = f"--ckpt_path={fit / 'checkpoints' / 'best.ckpt'}"
    shutil.rmtree(folder / "test", ignore_errors=True)
    in_process([["test", *common, *logger(folder / "test"), best]], folder / "log.txt")
    report, cost = (json.loads((fit / name).read_text(encoding="utf-8")) for name in ("report.json", COST_FILE))
    (predictions,) = (folder / "test").glob("*/predictions.json")
    result = Result(
        arm=arm,
        seed=seed,
        learning_rate=learning_rate,
        num_steps=cost["num_steps"],
        seconds=cost["seconds"],
        validation=report["student"]["scores"],
        teacher=report["teacher"]["scores"],
        predictions=json.loads(predictions.read_text(encoding="utf-8")),
    )
    write_json(folder / RESULT_FILE, asdict(result))
    for leftover in (folder / "logits", fit / "checkpoints", fit / "student"):
        shutil.rmtree(leftover, ignore_errors=True)
    return result


def logger(folder: Path) -> list[str]:
    """Return arguments that make runs write under a folder and nowhere else."""
    settings = {"save_dir": str(folder.parent), "name": folder.name}
    return command_line({"trainer.logger": [{"class_path": "distill.CsvRun", "init_args": settings}]})


def in_process(commands: Sequence[Sequence[str]], log: Path) -> None:
    """Run commands of the command line one after the other in a process that ends with this one, however that ends.

    It is forked from one that has imported everything and done nothing: importing anew would cost more than a short
    training, and a fork of this process may wait for ever for threads that it does not inherit.

    Raises:
        UserError: If one fails.
    """
    server = multiprocessing.get_context("forkserver")
    server.set_forkserver_preload([main.__module__])
    process = server.Process(target=_run, args=(commands, log), daemon=True)
    process.start()
    process.join()
    if process.exitcode:
        lines = [line for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
        raise UserError(f"{log}: exit code {process.exitcode}{f': {lines[-1]}' if lines else ''}")


def _run(commands: Sequence[Sequence[str]], log: Path) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGTERM)
    with log.open("ab") as file:
        for stream in (sys.stdout, sys.stderr):
            os.dup2(file.fileno(), stream.fileno())
    for command in commands:
        main(list(command))


def finished_run(folder: Path) -> Path:
    """Return the folder of the run that has finished."""
    for run in sorted(folder.glob("version_*")):
        status = read_status(run)
        if status is not None and status.state == "finished":
            return run
    raise UserError(f"{folder}: no run in it has finished")
