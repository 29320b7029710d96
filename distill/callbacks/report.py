"""The end of a run: what was gained, as a table and as files."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import lightning as L
import torch
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities import rank_zero_warn
from rich.console import Console

from distill.callbacks.benchmark import LatencyBenchmark, reference_latency
from distill.callbacks.checkpoints import BestInFinalStage, LastCheckpoint, best_rule
from distill.callbacks.guard import NumericalGuard
from distill.callbacks.stages import StageSchedule
from distill.callbacks.throughput import Throughput
from distill.checkpoints import load_checkpoint
from distill.data.base import by_task
from distill.files import write_json, write_text
from distill.loggers import log_summary
from distill.modules.scoring import TaskEvaluations, evaluate_all
from distill.reporting.comparison import (
    ModelFigures,
    build_report,
    comparison_table,
    scores_line,
    scores_table,
)
from distill.reporting.environment import describe_environment
from distill.reporting.files import run_folder, task_folder
from distill.reporting.multitask import flatten_report, join_reports, logged_scores, run_scores, tasks_table
from distill.reporting.outcomes import compare_outcomes, json_lines, outcome_rows
from distill.reporting.size import num_parameters, size_bytes
from distill.tasks.base import EvaluationResult
from distill.types import UserError

#: Stands in the place of the rule where no checkpoint was kept.
NO_CHECKPOINT = "the final stage was not validated or did not train the head, so the last weights are the result"

AnyCallback = TypeVar("AnyCallback", bound=L.Callback)


class Report(L.Callback):
    """Compares teacher and student when training ends, and writes predictions after ``validate`` and ``test``.

    When training ends (``on_train_end``, while the models are still on their device) it loads the best checkpoint into
    the student, scores the student and once the teacher on the validation part, takes the latencies of the
    ``LatencyBenchmark`` and the rates of the ``Throughput`` listed before it, writes ``report.json`` and, item by item,
    ``outcomes.jsonl`` into the run's folder and logs the figures as ``report/...``; the table is printed when the fit
    is over. From then on the student holds the best weights. Of a run of several tasks the report has a section for
    each of them, under ``tasks``, and the table a row.

    After ``validate``, ``test`` and ``predict`` it writes the student's ``predictions.json`` (question id to answer
    text, the official SQuAD form) into the run's folder; when the command is over it prints the scores, where there
    are references, and ends with a line that says how much was answered, how well, and where the answers are.

    The callback saves nothing in checkpoints. A ``fast_dev_run`` writes no file and keeps no checkpoint; the table
    then shows the last weights and says so.
    """

    def __init__(self) -> None:
        #: What every task's models scored, the student's with the weights that are the result; for other callbacks.
        self.evaluations: dict[str | None, TaskEvaluations] = {}
        #: The content of ``report.json``, on the first process.
        self.report: dict[str, Any] | None = None
        self._written: dict[str | None, Path] = {}

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Check that the benchmark and the throughput are done first."""
        if stage == "fit":
            for needed in (LatencyBenchmark, Throughput):
                find_callback(trainer, needed, before=self)

    def on_train_end(self, trainer: L.Trainer, pl_module: Any) -> None:
        """Score both models and write the report."""
        folder = run_folder(trainer)
        if trainer.val_dataloaders is None:
            rank_zero_warn("Report: there is no validation data in this run, so there is nothing to report")
            return
        # What training logged last, before the best weights replace the last ones.
        last_scores = logged_scores(trainer.callback_metrics, "val", pl_module.members)
        checkpoint = _best_checkpoint(trainer)
        if checkpoint is not None:
            pl_module.load_student_weights(checkpoint)
        loaders = by_task(trainer.val_dataloaders)
        self.evaluations = {
            name: evaluate_all(member, loaders[name], with_majority=name is not None)
            for name, member in pl_module.members.items()
        }
        if not trainer.is_global_zero:
            return
        scores = run_scores({name: found.student for name, found in self.evaluations.items()}, pl_module.mean_score)
        checkpoints = {
            "rule": best_rule(pl_module) if checkpoint is not None else NO_CHECKPOINT,
            "best": {
                "path": _relative(checkpoint, folder),
                "step": _step(checkpoint) if checkpoint is not None else trainer.global_step,
                "scores": scores,
            },
            "last": {
                "path": _relative(_last_checkpoint(trainer), folder),
                "step": trainer.global_step,
                "scores": {name: last_scores[name] for name in scores if name in last_scores},
            },
        }
        guard = find_callback(trainer, NumericalGuard)
        shared: dict[str, Any] = {"ended": f"finished at step {trainer.global_step}"}
        shared |= {"numerics": guard.counts} if guard is not None else {}
        reports = {
            name: self._build(trainer, member, checkpoints)
            | shared
            | compare_outcomes(self.evaluations[name].student, self.evaluations[name].teacher)
            for name, member in pl_module.members.items()
        }
        self.report = reports[None] if None in reports else self._join(pl_module, reports)
        log_summary(trainer.loggers, flatten_report(self.report), trainer.global_step)
        if folder is not None:
            for name, found in self.evaluations.items():
                if rows := outcome_rows(found.student, found.teacher):
                    write_text(task_folder(folder, name) / "outcomes.jsonl", json_lines(rows))
            write_json(folder / "report.json", self.report)

    def on_fit_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Print the table, now that no progress bar is in its way."""
        if self.report is not None:
            best = self.report["checkpoints"]["best"]
            caption = f"Student: {self.report['checkpoints']['rule']} (step {best['step']})"
            table = tasks_table if "tasks" in self.report else comparison_table
            Console().print(table(self.report, caption))

    def on_validation_end(self, trainer: L.Trainer, pl_module: Any) -> None:
        """Write the student's answers, unless this validation is part of a fit."""
        if trainer.state.fn == TrainerFn.VALIDATING:
            self._write_predictions(trainer, pl_module)

    def on_test_end(self, trainer: L.Trainer, pl_module: Any) -> None:
        """Write the student's answers."""
        self._write_predictions(trainer, pl_module)

    def on_predict_end(self, trainer: L.Trainer, pl_module: Any) -> None:
        """Write the student's answers."""
        self._write_predictions(trainer, pl_module)

    def teardown(self, trainer: L.Trainer, pl_module: Any, stage: str) -> None:
        """Print how an evaluation went, now that no progress bar is in its way."""
        if stage != "fit" and trainer.is_global_zero:
            self._print_evaluation(pl_module, TrainerFn(stage).value)

    def _build(self, trainer: L.Trainer, member: Any, checkpoints: dict[str, Any]) -> dict[str, Any]:
        """Return the report of one task, as if it were the only one."""
        found = self.evaluations[member.name]
        benchmark = find_callback(trainer, LatencyBenchmark, before=self)
        result = benchmark.result_of(member.name) if benchmark else None
        throughput = find_callback(trainer, Throughput, before=self)
        schedule = find_callback(trainer, StageSchedule)
        data = getattr(trainer, "datamodule", None)
        summary = getattr(getattr(data, "parts", {None: data})[member.name], "summary", None)

        def figures(name: str, model: torch.nn.Module, evaluation: EvaluationResult) -> ModelFigures:
            return ModelFigures(
                evaluation.scores,
                num_parameters(model),
                result["models"][name]["size_bytes"] if result else size_bytes(model, torch.float32),
                reference_latency(result, name) if result else None,
            )

        return build_report(
            student=figures("student", member.student, found.student),
            teacher=figures("teacher", member.teacher, found.teacher) if found.teacher else None,
            stages=schedule.plan.describe() if schedule and schedule.plan else [],
            data=summary() if summary else {},
            environment={
                **describe_environment(member.device, benchmark.dtype if benchmark else None),
                "precision": trainer.precision,
                "num_devices": trainer.world_size,
                "num_steps": trainer.global_step,
            },
            checkpoints=checkpoints,
            benchmark={**result["reference"], **result["environment"]} if result else None,
            headline=member.task.headline,
            throughput=throughput.result if throughput else None,
        )

    def _join(self, module: Any, reports: Mapping[str | None, dict[str, Any]]) -> dict[str, Any]:
        """Return the report of a run of several tasks."""
        students = torch.nn.ModuleList(member.student for member in module.members.values())
        teachers = torch.nn.ModuleList(member.teacher for member in module.members.values() if member.teacher)
        found = self.evaluations
        return join_reports(
            {str(name): report for name, report in reports.items()},
            majority={str(name): found[name].majority for name in found},
            score=module.main_score,
            means={
                "student": module.mean_score({name: both.student for name, both in found.items()}),
                "teacher": module.mean_score({name: both.teacher for name, both in found.items() if both.teacher})
                if all(both.teacher for both in found.values())
                else None,
            },
            sizes={"student": num_parameters(students), "teacher": num_parameters(teachers)},
        )

    def _write_predictions(self, trainer: L.Trainer, module: Any) -> None:
        folder = run_folder(trainer)
        self._written = {}
        for name, member in module.members.items():
            evaluation: EvaluationResult | None = member.last_evaluation
            if folder is not None and trainer.is_global_zero and evaluation is not None and evaluation.predictions:
                self._written[name] = task_folder(folder, name) / "predictions.json"
                write_json(self._written[name], dict(evaluation.predictions))

    def _print_evaluation(self, module: Any, command: str) -> None:
        """Print the scores, where there are references to have them of, and a line about each task."""
        console, lines = Console(), []
        for name, member in module.members.items():
            evaluation: EvaluationResult | None = member.last_evaluation
            if evaluation is None:
                continue
            title, headline = f"{command}: " if name is None else f"{command}: {name}: ", member.task.headline
            if command == "predict":  # without references
                line = f"{len(evaluation.predictions):,} predictions"
            else:
                console.print(scores_table(evaluation.scores, title.rstrip(": ").capitalize(), headline))
                line = scores_line(evaluation.scores, headline)
            written = f"; wrote {self._written[name]}" if name in self._written else ""
            lines.append(f"{title}{line}{written}")
        for line in lines:
            console.print(line, markup=False, highlight=False, soft_wrap=True)


def find_callback(trainer: L.Trainer, kind: type[AnyCallback], before: L.Callback | None = None) -> AnyCallback | None:
    """Return the trainer's first callback of a kind, nothing where there is none.

    Raises:
        UserError: If ``before`` is given and comes first, although it needs what the other one leaves.
    """
    callbacks: list[L.Callback] = trainer.callbacks  # type: ignore[attr-defined]
    found = next((callback for callback in callbacks if isinstance(callback, kind)), None)
    if found is not None and before is not None and callbacks.index(found) > callbacks.index(before):
        raise UserError(f"trainer.callbacks: list {kind.__name__} before {type(before).__name__}, which needs it")
    return found


def _best_checkpoint(trainer: L.Trainer) -> Path | None:
    callback = find_callback(trainer, BestInFinalStage)
    return Path(callback.best_model_path) if callback is not None and callback.best_model_path else None


def _last_checkpoint(trainer: L.Trainer) -> Path | None:
    callback = find_callback(trainer, LastCheckpoint)
    return callback.path if callback is not None else None


def _step(checkpoint: Path) -> int:
    return int(load_checkpoint(checkpoint)["global_step"])


def _relative(path: Path | None, folder: Path | None) -> str | None:
    if path is None:
        return None
    return Path(os.path.relpath(path, folder)).as_posix() if folder is not None else path.name
