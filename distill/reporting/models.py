"""The models that a run can show side by side: teacher, student, and the formats the student was exported to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from distill.reporting.run import Run

#: Scores that are no percentages, with what an axis says of them.
_OTHER_UNITS = {"perplexity": "perplexity", "cross_entropy": "cross-entropy, nats"}

#: What the student's own weights are called among the formats of an export.
FLOAT32 = "torch fp32"

#: What the formats of an export are called beside the models.
_FORMAT_LABELS = {"torch": FLOAT32, "bf16": "torch bf16", "onnx": "ONNX fp32", "int8": "ONNX INT8"}


@dataclass(frozen=True)
class Contender:
    """One model in one format, with what was measured of it.

    Attributes:
        name: What it is called.
        role: Whether it is the run's teacher or student, or an exported format of the student.
        scores: Metric name to value.
        size_bytes: Bytes on disk, where known.
        p50_ms: Median of a call at the report's batch size and length, where it was timed.
        p95_ms: 95th percentile of a call there.
        windows_per_second: Throughput there.
        problems: What speaks against it, in words.
    """

    name: str
    role: Literal["teacher", "student", "export"]
    scores: Mapping[str, float]
    size_bytes: int | None = None
    p50_ms: float | None = None
    p95_ms: float | None = None
    windows_per_second: float | None = None
    problems: tuple[str, ...] = ()


def contenders(run: Run) -> list[Contender]:
    """Return the run's teacher and student, as far as they were scored, and the student's exported formats."""
    found = []
    for role in ("teacher", "student"):
        figures = run.report.get(role)
        if figures:
            latency = figures.get("latency_ms") or {}
            found.append(
                Contender(
                    role,
                    role,
                    figures.get("scores") or {},
                    figures.get("size_bytes"),
                    latency.get("p50"),
                    latency.get("p95"),
                    figures.get("windows_per_second"),
                )
            )
    point = run.report.get("benchmark") or run.export.get("reference") or {}
    formats: Mapping[str, Mapping[str, Any]] = run.export.get("formats") or {}
    return found + [_exported(name, figures, point) for name, figures in formats.items()]


def comparable(run: Run, models: Sequence[Contender]) -> list[tuple[Contender, float]]:
    """Return the models that were timed, with the milliseconds at which they can stand beside one another.

    Exported formats were timed in another sitting, in turns with the student's float32 weights. Where the run timed the
    student on a processor in float32 too, a format takes the student's time there times the ratio of its own to those
    weights' in its sitting, and those weights, which are the student, are left out. Else times are as they were taken.
    """
    timed = [(model, model.p50_ms) for model in models if model.p50_ms is not None]
    taken = {model.name: p50_ms for model, p50_ms in timed}
    point = run.report.get("benchmark") or {}
    if not {"student", FLOAT32} <= taken.keys() or (point.get("device"), point.get("dtype")) != ("cpu", "float32"):
        return timed
    scale = taken["student"] / taken[FLOAT32]
    return [
        (model, p50_ms * scale if model.role == "export" else p50_ms)
        for model, p50_ms in timed
        if model.name != FLOAT32
    ]


def is_percentage(score: str) -> bool:
    """Whether a score runs from 0 to 100."""
    return score not in _OTHER_UNITS


def score_axis(score: str, label: str) -> str:
    """Return what an axis of a score says: quantity and unit.

    Example:
        >>> score_axis("f1", "F1"), score_axis("cross_entropy", "loss")
        ('F1, %', 'cross-entropy, nats')
    """
    return _OTHER_UNITS.get(score, f"{label}, %")


def _exported(name: str, figures: Mapping[str, Any], point: Mapping[str, Any]) -> Contender:
    """Return a format with its timings at the report's batch size and length, none where it was not timed there."""
    timings: Mapping[str, Any] = next(
        (
            row
            for row in figures.get("latency") or []
            if (row["batch_size"], row["length"]) == (point.get("batch_size"), point.get("length"))
        ),
        {},
    )
    return Contender(
        _FORMAT_LABELS.get(name, name),
        "export",
        figures.get("scores") or {},
        figures.get("size_bytes"),
        timings.get("p50_ms"),
        timings.get("p95_ms"),
        timings.get("windows_per_second"),
        tuple(figures.get("problems") or ()),
    )
