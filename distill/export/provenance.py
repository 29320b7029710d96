"""Where a student comes from: what its run left beside it, and nothing that is not known."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from distill.models.loading import EMBEDDED, EMBEDDED_MODELS
from distill.models.student import RANDOM, Student
from distill.reporting.multitask import task_report
from distill.types import UserError

#: The licence of what the package carries, data and teacher alike.
EMBEDDED_LICENSE = "apache-2.0"

#: Hugging Face's word for a licence that nobody named.
UNKNOWN_LICENSE = "unknown"


@dataclass(frozen=True)
class Provenance:
    """What is known of a student's making.

    Attributes:
        config: The resolved configuration, YAML; the run's own where its folder was found.
        report: The run's ``report.json``, where its folder was found and the run has finished; of a run of several
            tasks the student's own, with what all of them share.
        weights: Which file or folder of the run the weights are from.
        license: The student's licence by its Hugging Face name.
        task: The student's task in a run of several.
    """

    config: str | None
    report: Mapping[str, Any] | None
    weights: str | None
    license: str
    task: str | None = None

    @property
    def settings(self) -> Mapping[str, Any]:
        """The configuration as data; empty when it is not known."""
        return _read(self.config)

    @property
    def teachers(self) -> list[str]:
        """Folders or hub names of the teachers; nothing when there were none or they are not known."""
        arguments = _model_arguments(self.settings)
        return _teachers(arguments if self.task is None else arguments["tasks"][self.task])

    @property
    def other_tasks(self) -> list[str]:
        """The tasks that trained the same encoder."""
        return [task for task in _model_arguments(self.settings).get("tasks") or () if task != self.task]


def find_provenance(source: Path | None, config: str | None, license_name: str | None) -> Provenance:
    """Return what the run folder around a checkpoint or student folder tells, else what the command was given.

    Args:
        source: ``checkpoints/best.ckpt``, ``student/`` or, of one of several tasks, ``student/<task>`` of a run's
            folder, or something elsewhere.
        config: The resolved configuration of the running command.
        license_name: What the user says; else that of the embedded parts when there are no others, else unknown.

    Raises:
        UserError: If the run's report or configuration cannot be read.
    """
    run = _run_folder(source) if source is not None else None
    report = None
    if run is not None:
        try:
            report = json.loads((run / "report.json").read_text(encoding="utf-8"))
        except ValueError as error:
            raise UserError(f"{run / 'report.json'}: not valid JSON: {error}") from error
        if report.get("status", "finished") != "finished":  # says how the run ended, and nothing of the student
            report = None
        if (run / "config.yaml").is_file():
            config = (run / "config.yaml").read_text(encoding="utf-8")
    weights = source.name if source is not None else None
    task = weights if weights in _tasks(config) else None
    if report is not None and "tasks" in report:
        report = task_report(report, task) if task is not None and task in report["tasks"] else None
    return Provenance(config, report, weights, license_name or _known_license(config), task)


def _run_folder(source: Path) -> Path | None:
    """Return the nearest folder above that holds a report, as run folders do: one or two steps up."""
    above = source.resolve().parents
    return next((folder for folder in above[:2] if (folder / "report.json").is_file()), None)


def _known_license(config: str | None) -> str:
    settings = _read(config)
    model, data = _model_arguments(settings), (settings.get("data") or {}).get("init_args") or {}
    student = Student(init=(model.get("student") or {}).get("init") or RANDOM)
    # What several tasks share was trained by the teachers and the data of all of them.
    models = [model, *(model.get("tasks") or {}).values()]
    sets = [part.get("init_args") or {} for part in (data.get("tasks") or {}).values()] or [data]
    teachers = [teacher for part in models for teacher in _teachers(part)]
    origins = {*teachers, model.get("model"), student.folder} - {None}
    has_own_files = any(part.get(f"{split}_files") for part in sets for split in ("train", "validation"))
    is_embedded = origins <= EMBEDDED_MODELS.keys() and all(part.get("dataset") == EMBEDDED for part in sets)
    return EMBEDDED_LICENSE if is_embedded and not has_own_files else UNKNOWN_LICENSE


def _tasks(config: str | None) -> list[str]:
    return list(_model_arguments(_read(config)).get("tasks") or ())


def _teachers(arguments: Mapping[str, Any]) -> list[str]:
    extra = [teacher["source"] for teacher in arguments.get("extra_teachers") or []]
    return [arguments["teacher"], *extra] if arguments.get("teacher") else []


def _model_arguments(settings: Mapping[str, Any]) -> Mapping[str, Any]:
    return (settings.get("model") or {}).get("init_args") or {}


def _read(config: str | None) -> Mapping[str, Any]:
    return yaml.safe_load(config) or {} if config else {}
