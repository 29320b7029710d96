"""Comparisons of whole runs: every arm with every seed, each trained and tested once, by the commands that users type.

A comparison that is killed and started again goes on where it was: finished parts are left alone, and a fit goes on
with ``--ckpt_path auto``.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from rich.console import Console
from rich.table import Table

from distill.files import write_json, write_text
from distill.metrics.bootstrap import Interval, bootstrap_interval
from distill.metrics.normalize import normalize_mlqa
from distill.metrics.squad import exact_match, f1
from distill.reporting.paired import compare
from distill.reporting.status import read_status
from distill.tasks.question_answering.reading import read_examples
from distill.tasks.question_answering.task import QuestionAnswering
from distill.types import Example, UserError

ROOT = Path(__file__).parents[2]
SCORES = {"F1": f1, "EM": exact_match}

#: How a comparison of predictions names them.
PAIRED = {"F1": "f1", "EM": "exact_match"}

#: Runs a command of train.py in a folder.
RunCommand = Callable[[list[str], Path], None]


@dataclass(frozen=True)
class Arm:
    """One side of a comparison.

    Attributes:
        configs: Files under ``configs/``, in order.
        settings: What is laid over them.
        data: Keys under ``data.init_args`` that lead to the data module of the questions, where that is one of several.
    """

    configs: Sequence[str]
    settings: Mapping[str, Any] = field(default_factory=dict)
    data: Sequence[str] = ()


def run_command(arguments: list[str], folder: Path) -> None:
    """Run ``train.py``, its output appended to ``log.txt`` in the folder."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with (folder / "log.txt").open("ab") as log:
        command = [sys.executable, str(ROOT / "train.py"), *arguments]
        subprocess.run(command, cwd=folder, env=environment, stdout=log, stderr=subprocess.STDOUT, check=True)


class Campaign:
    """All arms with all seeds.

    Args:
        folder: Where every run gets a folder of its own, ``<arm>/<seed>``.
        arms: What is compared.
        seeds: One run of each arm for each.
        test_files: SQuAD JSON that the best checkpoint of every run is tested on.
        command: Runs a command of train.py.
    """

    def __init__(
        self,
        folder: Path,
        arms: Mapping[str, Arm],
        seeds: Sequence[int],
        test_files: Sequence[str],
        command: RunCommand = run_command,
    ) -> None:
        self.folder, self.arms, self.seeds, self.test_files = folder.resolve(), arms, seeds, test_files
        self._command = command

    def run(self) -> None:
        """Do what is left to do; seed by seed, so that an early look compares like with like."""
        for seed in self.seeds:
            for name in self.arms:
                self.train(name, seed)
                if self.predictions(name, seed) is None:
                    self._test(name, seed)

    def train(self, name: str, seed: int) -> Path:
        """Return the folder of an arm's fit with a seed, which is done where it has not been.

        Raises:
            UserError: If it was begun with other settings.
        """
        file = self._place(name, seed) / "fit.yaml"
        if file.exists() and yaml.safe_load(file.read_text(encoding="utf-8")) != self._settings("fit", name, seed, {}):
            raise UserError(f"{file}: this run was begun with other settings; name another folder")
        if self.trained(name, seed) is None:
            self._run("fit", name, seed, {}, ["--ckpt_path", "auto"])
        folder = self.trained(name, seed)
        assert folder is not None, f"{name} with seed {seed} did not finish; see log.txt"
        return folder

    def trained(self, name: str, seed: int) -> Path | None:
        """Return the folder of an arm's finished fit with a seed, nothing where it has not ended."""
        folders = sorted((self._place(name, seed) / "fit").glob("version_*"))
        return next((folder for folder in folders if _is_finished(folder)), None)

    def predictions(self, name: str, seed: int) -> dict[str, str] | None:
        """Return question id to answer on the test files, nothing where they have not been tested."""
        found = sorted((self._place(name, seed) / "test").glob("version_*/predictions.json"))
        return json.loads(found[0].read_text(encoding="utf-8")) if found else None

    def scores(self, pairs: Sequence[tuple[str, str]]) -> dict[str, Any]:
        """Return :func:`summarise` for the seeds that all arms have done, and which these are as ``seeds``."""
        done = [seed for seed in self.seeds if all(self.predictions(name, seed) is not None for name in self.arms)]
        examples, _ = read_examples(self.test_files)
        predictions = {name: [self.predictions(name, seed) or {} for seed in done] for name in self.arms if done}
        return {**summarise(examples, predictions, pairs), "seeds": done}

    def _test(self, name: str, seed: int) -> None:
        files: dict[str, Any] = {"test_files": list(self.test_files)}
        for key in reversed(["data", *self.arms[name].data]):
            files = {key: {"init_args": files}}
        checkpoint = self.train(name, seed) / "checkpoints" / "best.ckpt"
        self._run("test", name, seed, files, ["--ckpt_path", str(checkpoint)])

    def _run(self, command: str, name: str, seed: int, settings: Mapping[str, Any], options: list[str]) -> None:
        place = self._place(name, seed)
        file = place / f"{command}.yaml"
        write_text(file, yaml.safe_dump(self._settings(command, name, seed, settings), sort_keys=False))
        files = [*(str(ROOT / "configs" / config) for config in self.arms[name].configs), str(file)]
        self._command([command, *(word for path in files for word in ("--config", path)), *options], place)

    def _settings(self, command: str, name: str, seed: int, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Return what is laid over an arm's configurations, as a file has it."""
        logger = {
            "class_path": "distill.CsvRun", "init_args": {"save_dir": str(self._place(name, seed)), "name": command}
        }  # fmt: skip
        own = {"seed_everything": seed, "trainer": {"logger": [logger], "enable_progress_bar": False}}
        whole = merged(merged(self.arms[name].settings, own), settings)
        return yaml.safe_load(yaml.safe_dump(whole))

    def _place(self, name: str, seed: int) -> Path:
        return self.folder / name / str(seed)


def merged(settings: Mapping[str, Any], others: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings with others laid over them, key by key, as the command line does."""
    result = dict(settings)
    for key, value in others.items():
        old = result.get(key)
        result[key] = merged(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return result


@dataclass(frozen=True)
class ArmScore:
    """One score of an arm in percent: of each seed, their mean, and where it lies for other paragraphs."""

    seeds: list[float]
    mean: float
    interval: Interval


def summarise(
    examples: Sequence[Example],
    predictions: Mapping[str, Sequence[Mapping[str, str]]],
    pairs: Sequence[tuple[str, str]],
) -> dict[str, Any]:
    """Return each arm's scores with intervals, and the paired difference of each pair (one side minus the other).

    Args:
        examples: The test questions.
        predictions: Question id to answer for each seed, by arm; seeds in the same order everywhere.
        pairs: Which arms are compared; left out while an arm has fewer seeds.
    """
    normalize = partial(normalize_mlqa, language="es")
    contexts = [example.context for example in examples]
    scores: dict[str, dict[str, ArmScore]] = {name: {} for name in predictions}
    for label, function in SCORES.items():
        score = partial(function, normalize=normalize)
        for name, seeds in predictions.items():
            rows = np.array([[_score(score, example, answers) for example in examples] for answers in seeds])
            mean = rows.mean(axis=0)
            interval = bootstrap_interval(mean.tolist(), contexts)
            scores[name][label] = ArmScore(rows.mean(axis=1).tolist(), float(mean.mean()), interval)
    return {
        "num_questions": len(examples),
        "arms": {name: {label: asdict(score) for label, score in by.items()} for name, by in scores.items()},
        "differences": {
            f"{one} - {other}": {
                label: asdict(found[name])
                for found in [compare(QuestionAnswering(), examples, predictions[one], predictions[other])]
                for label, name in PAIRED.items()
            }
            for one, other in pairs
            if len(predictions.get(one, ())) == len(predictions.get(other, ())) > 0
        },
    }


def write_results(folder: Path, results: Mapping[str, Any]) -> None:
    """Print the table and keep the figures in ``results.json``."""
    write_json(folder / "results.json", results)
    table = Table("", "seeds", *(f"{label}, 95 % interval" for label in SCORES))

    def cell(value: float, interval: Sequence[float], form: str) -> str:
        low, high = interval
        return f"{value:{form}} ({low:{form}} to {high:{form}})"

    for name, by in results["arms"].items():
        cells = (cell(by[label]["mean"], by[label]["interval"], ".2f") for label in SCORES)
        table.add_row(name, " ".join(f"{value:.2f}" for value in by["F1"]["seeds"]), *cells)
    table.add_section()
    for name, by in results["differences"].items():
        table.add_row(name, "", *(cell(by[label]["difference"], by[label]["interval"], "+.2f") for label in SCORES))
    Console().print(table)


def _score(score: Callable[..., float], example: Example, answers: Mapping[str, str]) -> float:
    return 100 * score(answers[example.question_id], [answer.text for answer in example.answers] or [""])


def _is_finished(folder: Path) -> bool:
    status = read_status(folder)
    return status is not None and status.state == "finished"
