"""One trial: a run of the command line in a process of its own, watched while it goes on."""

from __future__ import annotations

import ctypes
import json
import math
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from distill.reporting.run import Curves, read_curves, read_run
from distill.sweeps.stopping import Progress
from distill.types import UserError

#: Seconds that a trial gets to end by itself when it is stopped.
_GRACE_SECONDS = 30.0
#: What is logged of the student's latency while a run goes on.
_LATENCY = re.compile(r"latency/student/p50_ms/b(\d+)_s(\d+)")
_SET_PARENT_DEATH_SIGNAL = 1


@dataclass(frozen=True)
class Outcome:
    """How a trial ended.

    Attributes:
        state: ``complete``, ``stopped`` early, or ``failed``.
        progress: What it had reached.
        score: The final score, where it is complete.
        latency_ms: The student's median latency at the report's point, where it is complete.
        message: Why it failed.
    """

    state: Literal["complete", "stopped", "failed"]
    progress: Progress
    score: float | None = None
    latency_ms: float | None = None
    message: str = ""


def run_folder_arguments(folder: Path) -> list[str]:
    """Return arguments that make a run write into ``folder`` and nowhere else, and at once."""
    settings = {"save_dir": str(folder.parent), "name": folder.name, "version": "", "flush_logs_every_n_steps": 1}
    logger: list[dict[str, Any]] = [{"class_path": "distill.CsvRun", "init_args": settings}]
    return [f"--trainer.logger={json.dumps(logger)}", "--trainer.enable_progress_bar=false"]


def run_trial(
    command: Sequence[str],
    folder: Path,
    metric: str,
    score: str,
    should_stop: Callable[[Progress], bool],
    poll_seconds: float = 2.0,
) -> Outcome:
    """Run a command that writes a run into ``folder``, and stop it as soon as ``should_stop`` says so.

    What it prints goes to ``<folder>.log``. It ends with this process, also where that one is killed (on Linux).

    Args:
        command: Program and arguments.
        folder: The run's folder.
        metric: Logged score that its progress is measured by.
        score: Name of the final score in its report.
        should_stop: Asked whenever there is progress.
        poll_seconds: How often is looked for progress.
    """
    log = folder.with_name(f"{folder.name}.log")
    log.parent.mkdir(parents=True, exist_ok=True)
    progress = Progress()
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            stdout=output,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            # Not in our group: an interrupt of the terminal is for this process, which then ends the trial.
            process_group=0,
            preexec_fn=_end_with_parent if sys.platform == "linux" else None,
        )
        try:
            while process.poll() is None:
                latest = read_progress(folder, metric) or progress
                if latest != progress:
                    progress = latest
                    if should_stop(progress):
                        return Outcome("stopped", progress)
                _wait(process, poll_seconds)
        finally:
            _end(process)
    progress = read_progress(folder, metric) or progress
    if process.returncode != 0:
        return Outcome("failed", progress, message=_last_line(log) or f"exit code {process.returncode}")
    return _finished(folder, score, progress)


def read_progress(folder: Path, metric: str) -> Progress | None:
    """Return the progress of a run from its log of metrics; None while there is none, or one half-written."""
    try:
        curves = read_curves(folder / "metrics.csv")
    except UserError:
        return None
    scores = tuple(value for _, value in curves.get(metric, ()) if math.isfinite(value))
    return Progress(scores, _latency(curves))


def _latency(curves: Curves) -> float | None:
    """Return the latest latency of the smallest batch at the largest length."""
    points = {(-int(found[1]), int(found[2])): name for name in curves if (found := _LATENCY.fullmatch(name))}
    return curves[points[max(points)]][-1][1] if points else None


def _finished(folder: Path, score: str, progress: Progress) -> Outcome:
    try:
        student = read_run(folder).report.get("student") or {}
    except UserError as error:
        return Outcome("failed", progress, message=str(error))
    value, latency_ms = (student.get("scores") or {}).get(score), (student.get("latency_ms") or {}).get("p50")
    if value is None or latency_ms is None:
        missing = score if value is None else "latency"
        return Outcome("failed", progress, message=f"{folder / 'report.json'}: there is no {missing} of the student")
    return Outcome("complete", Progress(progress.scores, latency_ms), value, latency_ms)


def _wait(process: subprocess.Popen[bytes], seconds: float) -> None:
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        return


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a process that still runs: first by asking, then by force."""
    if process.poll() is None:
        process.terminate()
        _wait(process, _GRACE_SECONDS)
    if process.poll() is None:
        process.kill()
        process.wait()


def _end_with_parent() -> None:
    """Let the kernel end this process when its parent is gone, however it went."""
    ctypes.CDLL(None).prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGTERM)


def _last_line(log: Path) -> str:
    lines = [line.strip() for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    return lines[-1] if lines else ""
