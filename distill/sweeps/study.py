"""The trials of a sweep, kept on disk by Optuna: whatever kills the runner, what was finished is not lost."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from distill.sweeps.parameters import Parameter
from distill.sweeps.spec import Sweep
from distill.sweeps.stopping import Progress
from distill.sweeps.trial import Outcome
from distill.types import UserError

if TYPE_CHECKING:
    from optuna import Study, Trial
    from optuna.distributions import BaseDistribution
    from optuna.samplers import BaseSampler
    from optuna.trial import FrozenTrial

#: Optuna's journal inside the folder of a sweep.
JOURNAL = "study.journal"

#: Names under which a trial keeps what Optuna has no field for.
_PROGRESS, _MESSAGE, _RERUN_OF = "progress", "message", "rerun_of"


class SweepStudy:
    """The study of one sweep in one folder; opening it again goes on with it.

    Two objectives: the sweep's metric and the student's latency, less of which is better. A trial that was running when
    the runner ended is marked as failed, and its settings are run again, as another trial, before any new ones.

    Args:
        sweep: What is varied and measured.
        folder: Where the journal is kept.
        seed: Decides the settings together with the number of trials so far.

    Raises:
        UserError: If Optuna is not installed, or the folder holds the study of another sweep.
    """

    def __init__(self, sweep: Sweep, folder: Path, seed: int = 0) -> None:
        self._optuna = import_optuna()
        self._sweep = sweep
        storage = self._optuna.storages.JournalStorage(
            self._optuna.storages.journal.JournalFileBackend(str(folder / JOURNAL))
        )
        directions = ["maximize" if sweep.maximize else "minimize", "minimize"]
        self._study: Study = self._optuna.create_study(
            study_name="sweep", storage=storage, directions=directions, load_if_exists=True
        )
        # Another seed each time it is opened, or the first settings would be drawn again.
        self._study.sampler = self._sampler(seed + len(self._study.trials))
        self._space = {parameter.name: _distribution(parameter, self._optuna) for parameter in sweep.parameters}
        self._check_same_sweep(folder)
        self.num_recovered = self._recover()
        if sweep.method == "grid":
            self._enqueue_grid()

    @property
    def trials(self) -> list[FrozenTrial]:
        """All trials that were begun, without those that were interrupted and run again."""
        begun = [trial for trial in self._study.trials if trial.state != self._optuna.trial.TrialState.WAITING]
        repeated = {trial.user_attrs.get(_RERUN_OF) for trial in self._study.trials}
        return [trial for trial in begun if trial.number not in repeated]

    @property
    def num_ended(self) -> int:
        """How many trials are complete, were stopped early or failed by themselves."""
        return sum(trial.state.is_finished() for trial in self.trials)

    @property
    def is_exhausted(self) -> bool:
        """Whether a grid has no settings left."""
        waiting = self._optuna.trial.TrialState.WAITING
        return self._sweep.method == "grid" and not any(trial.state == waiting for trial in self._study.trials)

    def begin(self) -> tuple[Trial, dict[str, Any]]:
        """Begin a trial and return it with its settings."""
        trial = self._study.ask(self._space)
        return trial, decode(trial.params)

    def keep_progress(self, trial: Trial, progress: Progress) -> None:
        """Remember how far a trial has come, for comparison with later ones."""
        trial.set_user_attr(_PROGRESS, {"scores": list(progress.scores), "latency_ms": progress.latency_ms})

    def progress_of_others(self, trial: Trial) -> list[Progress]:
        """Return the progress of all other trials."""
        return [progress_of(other) for other in self.trials if other.number != trial.number]

    def end(self, trial: Trial, outcome: Outcome) -> None:
        """Keep how a trial ended."""
        self.keep_progress(trial, outcome.progress)
        states = self._optuna.trial.TrialState
        if outcome.state == "complete":
            assert outcome.score is not None
            assert outcome.latency_ms is not None
            self._study.tell(trial, [outcome.score, outcome.latency_ms])
            return
        trial.set_user_attr(_MESSAGE, outcome.message)
        self._study.tell(trial, state=states.PRUNED if outcome.state == "stopped" else states.FAIL)

    def _sampler(self, seed: int) -> BaseSampler:
        if self._sweep.method == "bayes":
            return self._optuna.samplers.TPESampler(seed=seed)  # type: ignore[no-any-return]
        return self._optuna.samplers.RandomSampler(seed=seed)  # type: ignore[no-any-return]

    def _check_same_sweep(self, folder: Path) -> None:
        # Compared as JSON, in which it is kept.
        described = json.loads(json.dumps(_describe(self._sweep)))
        kept = self._study.user_attrs.get("sweep")
        if kept is None:
            self._study.set_user_attr("sweep", described)
        elif kept != described:
            changed = next(name for name in described if kept.get(name) != described[name])
            raise UserError(f"{folder}: holds a sweep with other {changed}; choose another --output")

    def _recover(self) -> int:
        """Mark the trials that a killed runner left behind, and have their settings run again."""
        states = self._optuna.trial.TrialState
        trials = self._study.trials
        queued = {trial.user_attrs.get(_RERUN_OF) for trial in trials}
        left = [trial for trial in trials if trial.state == states.RUNNING]
        for trial in left:
            # Queued first, and once, should this be killed in between.
            if trial.number not in queued:
                self._study.enqueue_trial(trial.params, user_attrs={_RERUN_OF: trial.number})
            self._study.tell(trial.number, state=states.FAIL)
        return len(left)

    def _enqueue_grid(self) -> None:
        choices = []
        for parameter in self._sweep.parameters:
            if parameter.kind == "float":
                raise UserError(f"parameters.{parameter.name}: a grid needs values, not a range of real numbers")
            values = parameter.values or range(int(parameter.low), int(parameter.high) + 1)
            choices.append([_encode(value) for value in values])
        names = list(self._space)
        for combination in itertools.product(*choices):
            self._study.enqueue_trial(dict(zip(names, combination, strict=True)), skip_if_exists=True)


def import_optuna() -> ModuleType:
    """Return Optuna, quiet about its own doings.

    Raises:
        UserError: If it is not installed.
    """
    try:
        import optuna
    except ImportError as error:
        raise UserError("sweeps need Optuna: pip install 'distill[sweep]'") from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


def progress_of(trial: FrozenTrial) -> Progress:
    """Return how far a trial came."""
    kept = trial.user_attrs.get(_PROGRESS) or {}
    return Progress(tuple(kept.get("scores", ())), kept.get("latency_ms"))


def message_of(trial: FrozenTrial) -> str:
    """Return why a trial failed, or which one it repeats."""
    repeated = trial.user_attrs.get(_RERUN_OF)
    note = f"repeats {repeated}" if repeated is not None else ""
    return "; ".join(filter(None, [str(trial.user_attrs.get(_MESSAGE, "")), note]))


def decode(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings as they were written in the sweep."""
    return {name: json.loads(value) if isinstance(value, str) else value for name, value in settings.items()}


def _encode(value: Any) -> Any:
    """Return a choice as Optuna can keep it: numbers and booleans as they are, all else as JSON."""
    return value if isinstance(value, bool | int | float) else json.dumps(value, ensure_ascii=False)


def _distribution(parameter: Parameter, optuna: ModuleType) -> BaseDistribution:
    kinds = optuna.distributions
    if parameter.kind == "values":
        return kinds.CategoricalDistribution([_encode(value) for value in parameter.values])  # type: ignore[no-any-return]
    if parameter.kind == "int":
        return kinds.IntDistribution(int(parameter.low), int(parameter.high))  # type: ignore[no-any-return]
    return kinds.FloatDistribution(  # type: ignore[no-any-return]
        parameter.low, parameter.high, log=parameter.is_log, step=parameter.step
    )


def _describe(sweep: Sweep) -> dict[str, Any]:
    return {
        "metric": [sweep.metric, sweep.maximize],
        "parameters": [vars(parameter) | {"values": list(parameter.values)} for parameter in sweep.parameters],
        "command": [sweep.program, *sweep.command],
    }
