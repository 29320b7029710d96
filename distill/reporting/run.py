"""What a run left in its folder, as far as the page shows it; every part may be missing."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

from distill.reporting.charts.frame import Span
from distill.reporting.multitask import task_report
from distill.types import UserError

#: Name to (step, value), by rising step.
Curves = Mapping[str, Sequence[tuple[float, float]]]

#: Where a student that was exported from a run lies, beside the run's other files.
EXPORT_REPORT = "export/export.json"

#: How alike the layers of teacher and student were before training, where that was measured.
SIMILARITY = "layer_similarity.json"

#: What a report of a run without a list of headline scores compares models by.
_HEADLINE = (
    {"name": "exact_match", "label": "EM", "higher_is_better": True},
    {"name": "f1", "label": "F1", "higher_is_better": True},
)


@dataclass(frozen=True)
class Run:
    """The files of a run, read.

    Attributes:
        name: The last two parts of the folder's path.
        report: ``report.json``; empty before the end of the run.
        curves: What was logged over time, from ``metrics.csv``.
        latency: ``latency.json``; empty without a benchmark.
        samples: Rows of ``samples.json``.
        outcomes: Item identifier to row of ``outcomes.jsonl``.
        export: ``export.json`` of the exported student; empty where none was exported.
        similarity: ``layer_similarity.json``; empty where the layer map was not found by similarity.
        config: Text of ``config.yaml``; empty where it is missing.
        folder: The run's folder, in which each of several tasks has its own.
    """

    name: str
    report: Mapping[str, Any] = field(default_factory=dict)
    curves: Curves = field(default_factory=dict)
    latency: Mapping[str, Any] = field(default_factory=dict)
    samples: Sequence[Mapping[str, str]] = ()
    outcomes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    export: Mapping[str, Any] = field(default_factory=dict)
    similarity: Mapping[str, Any] = field(default_factory=dict)
    config: str = ""
    folder: Path = Path()

    @property
    def tasks(self) -> dict[str, Run]:
        """Each task of a run of several, as if it were the only one; nothing where there is one."""
        return {name: self._task(name) for name in self.report.get("tasks") or {}}

    @property
    def whole(self) -> Run:
        """A run of several tasks without what is theirs alone, but for their data."""
        curves = {name: points for name, points in self.curves.items() if name.partition("/")[0] not in self.tasks}
        data = {name: part.report.get("data") for name, part in self.tasks.items()}
        return replace(self, report={**self.report, "data": data}, curves=curves)

    def _task(self, name: str) -> Run:
        prefix = f"{name}/"
        own = {key.removeprefix(prefix): points for key, points in self.curves.items() if key.startswith(prefix)}
        return Run(
            name=name,
            report=task_report(self.report, name),
            curves=own,
            latency=(self.latency.get("tasks") or {}).get(name) or {},
            samples=_read_json(self.folder / "tasks" / name / "samples.json", list),
            outcomes=_read_outcomes(self.folder / "tasks" / name),
        )

    @property
    def headline(self) -> Sequence[Mapping[str, Any]]:
        """The scores that models are compared by first: ``name``, ``label`` and ``higher_is_better`` of each."""
        return self.report.get("headline") or _HEADLINE

    @property
    def main_score(self) -> Mapping[str, Any]:
        """The one score of charts that have room for one: F1 where there is one, else the first of the headline."""
        return next((score for score in self.headline if score["name"] == "f1"), self.headline[0])

    @property
    def num_steps(self) -> float:
        """Optimizer steps of the run so far."""
        last = max((points[-1][0] for points in self.curves.values()), default=0.0)
        return max(last, *(span.end for span in self.stages)) if self.report.get("stages") else last

    @property
    def stages(self) -> list[Span]:
        """The stages in steps: as reported, else as far as their terms were logged."""
        reported = self.report.get("stages")
        if reported:
            ends = [stage["start_step"] + stage["num_steps"] for stage in reported]
            return [Span(stage["name"], stage["start_step"], end) for stage, end in zip(reported, ends, strict=True)]
        starts: dict[str, float] = {}
        for name, points in self.curves.items():
            _, _, rest = name.partition("train/")
            stage, _, term = rest.partition("/")
            if term:
                starts[stage] = min(points[0][0], starts.get(stage, math.inf))
        ordered = sorted(starts.items(), key=lambda item: item[1])
        end = max((points[-1][0] for points in self.curves.values()), default=0.0)
        return [Span(name, start, stop) for (name, start), (_, stop) in pairwise([*ordered, ("", end)])]

    def scores(self, model: str) -> Mapping[str, float]:
        """Return the final scores of ``student`` or ``teacher``; nothing where there are none."""
        return (self.report.get(model) or {}).get("scores") or {}


def read_run(folder: Path) -> Run:
    """Read a run's folder.

    Raises:
        UserError: If there is neither a report nor a log of metrics, or a file is damaged.
    """
    if not (folder / "report.json").is_file() and not (folder / "metrics.csv").is_file():
        raise UserError(f"{folder}: there is neither report.json nor metrics.csv; name the folder of a run")
    config = folder / "config.yaml"
    return Run(
        name="/".join(folder.resolve().parts[-2:]),
        report=_read_json(folder / "report.json", dict),
        curves=read_curves(folder / "metrics.csv"),
        latency=_read_json(folder / "latency.json", dict),
        samples=_read_json(folder / "samples.json", list),
        outcomes=_read_outcomes(folder),
        export=_read_json(folder / EXPORT_REPORT, dict),
        similarity=_read_json(folder / SIMILARITY, dict),
        config=config.read_text(encoding="utf-8") if config.is_file() else "",
        folder=folder,
    )


def _read_outcomes(folder: Path) -> dict[str, dict[str, Any]]:
    return {row["id"]: row for row in _read_json_lines(folder / "outcomes.jsonl")}


def _read_json(path: Path, kind: type[Any]) -> Any:
    if not path.is_file():
        return kind()
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{path}: not valid JSON ({error}); remove the file or run again") from error
    if not isinstance(value, kind):
        raise UserError(f"{path}: a {kind.__name__} is expected, not a {type(value).__name__}")
    return value


def _read_json_lines(path: Path) -> list[dict[str, Any]]:
    rows = []
    if path.is_file():
        for index, line in enumerate(path.read_text(encoding="utf-8").splitlines()):
            try:
                row = json.loads(line)
                row["id"]
            except (ValueError, TypeError, KeyError) as error:
                raise UserError(f"{path}: line {index + 1} is no row with an id ({error})") from error
            rows.append(row)
    return rows


def read_curves(path: Path) -> dict[str, list[tuple[float, float]]]:
    """Read a log of metrics as name to (step, value); the last value counts where a resumed run logged a step again.

    Without the file there is nothing to read.

    Raises:
        UserError: If a value is no number.
    """
    curves: dict[str, dict[float, float]] = {}
    if not path.is_file():
        return {}
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        for row in reader:
            step = row.get("step")
            for name, value in row.items():
                # The last line of a run that goes on may be cut short.
                if not step or not value or name in ("step", "epoch", None):
                    continue
                try:
                    curves.setdefault(name, {})[float(step)] = float(value)
                except ValueError as error:
                    raise UserError(f"{path}: line {reader.line_num}, {name}: {error}") from error
    return {name: sorted(points.items()) for name, points in curves.items()}
