"""Running a sweep on this machine, one trial after the other."""

from __future__ import annotations

import fcntl
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from distill.sweeps.page import write_files
from distill.sweeps.result import Result, read_result
from distill.sweeps.spec import Sweep
from distill.sweeps.stopping import Progress, is_hopeless
from distill.sweeps.study import SweepStudy
from distill.sweeps.trial import Outcome, run_folder_arguments, run_trial
from distill.types import UserError

#: So many trials in a row that fail by themselves end the sweep: something is wrong with all of them.
MAX_FAILURES = 3


def run_sweep(sweep: Sweep, folder: Path, num_trials: int, seed: int = 0, poll_seconds: float = 2.0) -> Result:
    """Run trials until the sweep has had ``num_trials``, those of earlier calls included, and return the result.

    Each trial is a process that writes its run into ``trials/<number>/``; ``sweep.html``, ``pareto.svg`` and
    ``trials.csv`` are brought up to date after every one. Called again after having been killed, it goes on.

    Args:
        sweep: What is varied and measured.
        folder: Where everything is written.
        num_trials: Trials that are complete, stopped early or failed; an interrupted one is run again.
        seed: Decides the settings.
        poll_seconds: How often a running trial is looked at.

    Raises:
        UserError: If another process runs a sweep in the folder, or ``MAX_FAILURES`` trials in a row fail.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with _sole_owner(folder):
        study = SweepStudy(sweep, folder, seed)
        if study.num_recovered:
            _say(f"{study.num_recovered} trials were interrupted and are run again")
        failures = 0
        while study.num_ended < num_trials and not study.is_exhausted:
            outcome = _run_next(sweep, study, folder, poll_seconds)
            write_files(folder, read_result(folder, sweep, study.trials))
            failures = failures + 1 if outcome.state == "failed" else 0
            if failures == MAX_FAILURES:
                raise UserError(f"{failures} trials in a row failed, the last one with: {outcome.message}")
        result = read_result(folder, sweep, study.trials)
        write_files(folder, result)
        return result


def _run_next(sweep: Sweep, study: SweepStudy, folder: Path, poll_seconds: float) -> Outcome:
    trial, settings = study.begin()
    others = study.progress_of_others(trial)
    _say(f"trial {trial.number}: {', '.join(f'{name}={value}' for name, value in settings.items())}")

    def should_stop(progress: Progress) -> bool:
        study.keep_progress(trial, progress)
        rule = sweep.early_stopping
        return rule is not None and is_hopeless(progress, others, rule, sweep.maximize)

    run_folder = folder / "trials" / f"{trial.number:04d}"
    command = [*sweep.command_line(settings), *run_folder_arguments(run_folder)]
    outcome = run_trial(command, run_folder, sweep.metric, sweep.score, should_stop, poll_seconds)
    study.end(trial, outcome)
    figures = "" if outcome.score is None else f": {sweep.score} {outcome.score:.2f}, {outcome.latency_ms:.2f} ms"
    _say(f"trial {trial.number} {outcome.state}{figures}{f': {outcome.message}' if outcome.message else ''}")
    return outcome


@contextmanager
def _sole_owner(folder: Path) -> Iterator[None]:
    """Keep other runners out of the folder; the lock goes with the process, however it ends."""
    with (folder / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise UserError(f"{folder}: another process runs a sweep there; wait for it or choose another") from error
        yield


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
