"""The whole comparison: choosing rates, seeds at equal steps, seeds at equal time; whatever was finished is kept."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from distill.files import write_json
from distill.models.loading import load_config
from distill.tasks.question_answering.reading import read_examples
from distill.types import Example, UserError
from tests.benchmarks.answerable import task_for

from .arms import ARMS, Models, Sizes, command_line
from .runs import Result, in_process, logger, read_result, train

#: How far a run at equal time may be off before it is repeated with other steps, and how often that is tried.
TOLERANCE, MAX_TRIALS = 0.1, 3

#: What is equal in each table.
BUDGETS = ("steps", "time")

#: The arm whose cost at equal steps is everyone's at equal time.
MEASURE = "best"


@dataclass(frozen=True)
class Question:
    """What is asked: the teacher, the data, the budget.

    Attributes:
        teacher: Folder of a converged teacher.
        train_files: What is trained on.
        validation_files: What rates and checkpoints are chosen by.
        test_files: What is reported; never trained on and never chosen by.
        student: The student's sizes.
        num_steps: Optimizer steps of every arm at equal steps.
        learning_rates: Tried with the first seed in every arm; the best on the validation part is used.
        seeds: Of every arm.
        batch_size: Windows in a batch.
        max_length: Tokens of a window.
        doc_stride: Tokens that neighbouring windows share.
        arms: Which arms; all when left out.
        equal_time: Whether the arms are compared at equal time too.
        own_rates: Arm to the rates that are tried in it in place of ``learning_rates``; what starts from random weights
            wants others than what starts from the teacher's layers.
    """

    teacher: str
    train_files: list[str]
    validation_files: list[str]
    test_files: list[str]
    student: Sizes = Sizes()  # noqa: RUF009 - frozen, so sharing it is safe
    num_steps: int = 2000
    learning_rates: list[float] = field(default_factory=lambda: [5e-4, 1e-3, 2e-3])
    seeds: list[int] = field(default_factory=lambda: [42, 43, 44])
    batch_size: int = 16
    max_length: int = 384
    doc_stride: int = 128
    arms: list[str] = field(default_factory=lambda: list(ARMS))
    equal_time: bool = True
    own_rates: dict[str, list[float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check what can be checked at once."""
        unknown = set(self.arms) - ARMS.keys()
        if unknown or MEASURE not in self.arms:
            raise UserError(f"arms: choose {MEASURE} and any of {', '.join(ARMS)}")
        if strange := self.own_rates.keys() - set(self.arms):
            raise UserError(f"own_rates: {', '.join(sorted(strange))} is not among the arms {', '.join(self.arms)}")
        if not (self.seeds and all(self.rates(arm) for arm in self.arms)):
            raise UserError("learning_rates, own_rates and seeds: name at least one of each")

    def rates(self, arm: str) -> list[float]:
        """Return the rates that are tried in an arm."""
        return self.own_rates.get(arm, self.learning_rates)


@dataclass(frozen=True)
class Outcome:
    """The runs of the whole comparison.

    Attributes:
        teacher: The teacher's answers to the test questions.
        steps: Arm to one result a seed, at equal steps.
        time: The same at equal time.
        tried: Arm to rate to the validation score that it was chosen by.
    """

    teacher: dict[str, str]
    steps: dict[str, list[Result]]
    time: dict[str, list[Result]]
    tried: dict[str, dict[float, float]]


class Comparison:
    """A comparison in a folder.

    Args:
        question: What is asked.
        folder: Where everything is written.

    Raises:
        UserError: If the folder holds another comparison.
    """

    def __init__(self, question: Question, folder: Path) -> None:
        self.question = question
        self.folder = folder.resolve()
        file, asked = self.folder / "question.json", asdict(question)
        if file.is_file() and json.loads(file.read_text(encoding="utf-8")) != asked:
            raise UserError(f"{file}: another comparison was begun in this folder; choose another one")
        write_json(file, asked)

    @cached_property
    def examples(self) -> list[Example]:
        """The test questions."""
        examples, _ = read_examples(self.question.test_files)
        return list(examples)

    @cached_property
    def models(self) -> Models:
        """The shapes of both models."""
        return Models.of(self.question.student, load_config(self.question.teacher))

    @cached_property
    def task(self) -> dict[str, Any]:
        """Settings of the task, the same in every arm whatever its recipe says."""
        return task_for(self.question.test_files)

    def run(self) -> Outcome:
        """Run whatever is not finished yet."""
        question = self.question
        teacher = self.teacher_answers()
        tried: dict[str, dict[float, float]] = {}
        steps: dict[str, list[Result]] = {}
        for arm in question.arms:
            trials = {
                rate: self._train("steps", arm, rate, question.num_steps, question.seeds[0])
                for rate in question.rates(arm)
            }
            tried[arm] = {rate: result.validation["f1"] for rate, result in trials.items()}
            steps[arm] = [trials[max(tried[arm], key=tried[arm].__getitem__)]]
        for seed in question.seeds[1:]:
            for arm, results in steps.items():
                results.append(self._train("steps", arm, results[0].learning_rate, question.num_steps, seed))
        time: dict[str, list[Result]] = {}
        if question.equal_time:
            budget = mean_seconds(steps[MEASURE])
            time = {arm: self._at_equal_time(arm, results, budget) for arm, results in steps.items()}
        return Outcome(teacher, steps, time, tried)

    def finished(self) -> Outcome:
        """Return what has been finished so far, for an early look.

        Of each arm the rate, and at equal time the steps, with most seeds; of several with as many, the rate with the
        best validation score, and the steps whose cost is nearest to ``best.yaml``'s.
        """
        first_seed = self.question.seeds[0]
        steps: dict[str, list[Result]] = {}
        time: dict[str, list[Result]] = {}
        tried: dict[str, dict[float, float]] = {}
        for arm in self.question.arms:
            if groups := self._finished_groups("steps", arm):
                firsts = [runs[0] for runs in groups if runs[0].seed == first_seed]
                tried[arm] = {run.learning_rate: run.validation["f1"] for run in firsts}
                steps[arm] = max(groups, key=lambda runs: (len(runs), runs[0].validation["f1"]))
        if MEASURE in steps:
            budget = mean_seconds(steps[MEASURE])
            for arm in self.question.arms:
                if groups := self._finished_groups("time", arm):
                    time[arm] = max(groups, key=lambda runs: (len(runs), -abs(mean_seconds(runs) - budget)))
            if time:
                time[MEASURE] = steps[MEASURE]
        return Outcome(self.teacher_answers(), steps, time, tried)

    def _finished_groups(self, budget: str, arm: str) -> list[list[Result]]:
        """Return the finished runs of an arm: a list for each rate and number of steps, in the order of the seeds."""
        groups = []
        for group in sorted((self.folder / budget / arm).glob("*/*")):
            results = [read_result(group / f"seed-{seed}") for seed in self.question.seeds]
            groups.append([result for result in results if result is not None])
        return [group for group in groups if group]

    def run_folders(self, outcome: Outcome) -> list[Path]:
        """Return the folders of an outcome's runs; those of ``best.yaml`` at equal time are those at equal steps."""
        arms = [("steps", outcome.steps), ("time", {**outcome.time, MEASURE: []})]
        return [
            self._run_folder(budget, arm, run.learning_rate, run.num_steps, run.seed)
            for budget, results in arms
            for arm, runs in results.items()
            for run in runs
        ]

    def _run_folder(self, budget: str, arm: str, rate: float, num_steps: int, seed: int) -> Path:
        return self.folder / budget / arm / f"rate-{rate:g}" / f"steps-{num_steps}" / f"seed-{seed}"

    def teacher_answers(self) -> dict[str, str]:
        """Return the teacher's answers to the test questions."""
        folder = self.folder / "teacher"
        if not list(folder.glob("*/predictions.json")):
            config = Path(__file__).parents[3] / "configs" / "teacher.yaml"
            model = {"model.model": self.question.teacher, "model.tokenizer": None, "model.architecture": None}
            settings = {**model, **self._data()}
            folder.mkdir(parents=True, exist_ok=True)
            command = ["test", f"--config={config}", *command_line(settings), *logger(folder)]
            in_process([command], folder / "log.txt")
        (predictions,) = folder.glob("*/predictions.json")
        answers: dict[str, str] = json.loads(predictions.read_text(encoding="utf-8"))
        return answers

    def _at_equal_time(self, arm: str, at_steps: Sequence[Result], budget: float) -> list[Result]:
        """Return one result a seed whose training took ``budget`` seconds, as nearly as steps can be foretold."""
        if arm == MEASURE:
            return list(at_steps)
        question, rate = self.question, at_steps[0].learning_rate
        measured = at_steps[0]
        for _ in range(MAX_TRIALS):
            num_steps = max(10, round(measured.num_steps * budget / measured.seconds))
            measured = self._train("time", arm, rate, num_steps, question.seeds[0])
            if abs(measured.seconds / budget - 1) <= TOLERANCE:
                break
        others = [self._train("time", arm, rate, measured.num_steps, seed) for seed in question.seeds[1:]]
        return [measured, *others]

    def _train(self, budget: str, arm: str, rate: float, num_steps: int, seed: int) -> Result:
        settings = {
            "seed_everything": seed,
            "model.teacher": self.question.teacher,
            **self._data(),
            **ARMS[arm].overrides(self.models, num_steps, rate),
        }
        folder = self._run_folder(budget, arm, rate, num_steps, seed)
        result = train(folder, ARMS[arm].recipe, settings, arm, seed, rate)
        say(f"{budget}: {arm}, rate {rate:g}, {num_steps} steps, seed {seed}: "
            f"{result.seconds:.0f} s, validation F1 {result.validation['f1']:.2f}")  # fmt: skip
        return result

    def _data(self) -> dict[str, Any]:
        question = self.question
        return {
            "data.train_files": question.train_files,
            "data.validation_files": question.validation_files,
            "data.test_files": question.test_files,
            "data.batch_size": question.batch_size,
            "data.max_length": question.max_length,
            "data.doc_stride": question.doc_stride,
            "data.max_question_length": min(64, question.max_length // 3),
            "data.cache_dir": str(self.folder / "cache"),
            "model.task": self.task,
            "trainer.precision": None,
            "trainer.enable_progress_bar": False,
            "doctor.num_questions": 0,
            "benchmark.lengths": [question.max_length],
            "benchmark.batch_sizes": [1],
            "benchmark.rounds": 2,
            "benchmark.warmup": 0,
            "last_checkpoint.every_n_minutes": 5,
        }


def mean_seconds(runs: Sequence[Result]) -> float:
    """Return what one of several trainings cost."""
    return sum(run.seconds for run in runs) / len(runs)


def say(line: str) -> None:
    """Print one line at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
