"""Teacher against student: the report as plain data and as a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich.table import Table

from distill.reporting.latency import Latency
from distill.tasks.base import Score

#: Begins the keys of scores that say how much was scored, not how well.
_COUNT_PREFIX = "num_"


@dataclass(frozen=True)
class ModelFigures:
    """What the report says about one model.

    Attributes:
        scores: Metric name to value, percentages from 0 to 100.
        num_parameters: Parameters, tied ones once.
        size_bytes: Bytes on disk at the dtype of the figures.
        latency: Timings at the report's reference point, where they were taken.
    """

    scores: Mapping[str, float]
    num_parameters: int
    size_bytes: int
    latency: Latency | None = None


def build_report(
    student: ModelFigures,
    teacher: ModelFigures | None,
    stages: Sequence[Mapping[str, Any]],
    data: Mapping[str, Any],
    environment: Mapping[str, Any],
    checkpoints: Mapping[str, Any],
    benchmark: Mapping[str, Any] | None = None,
    headline: Sequence[Score] = (),
    throughput: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return the content of ``report.json``.

    ``retention`` is student / teacher for scores, the other way round where lower is better; ``speedup`` (of the p50)
    and ``compression`` are teacher / student: in all three more is better and 1 is even. A ratio without a teacher, or
    over nothing or zero, is ``None``.

    Args:
        student: The student's figures, with the weights that are the run's result.
        teacher: The teacher's figures; nothing when a single model was fine-tuned.
        stages: The stages as plain data, in order.
        data: What was trained and scored on.
        environment: Where it took place.
        checkpoints: The rule of choice, the best checkpoint and the last one.
        benchmark: The point that latencies were taken at and how, where they were.
        headline: The scores that each model's figures begin with, and whose retention is stated.
        throughput: The rates of training, where they were measured.
    """
    return {
        "status": "finished",
        "headline": [asdict(score) for score in headline],
        "student": _describe(student, headline),
        "teacher": _describe(teacher, headline) if teacher else None,
        "retention": {
            score.name: _retention(student.scores, teacher.scores if teacher else {}, score) for score in headline
        },
        "speedup": {"p50": ratio(_p50(teacher), _p50(student))},
        "compression": {
            "parameters": ratio(teacher.num_parameters if teacher else None, student.num_parameters),
            "bytes": ratio(teacher.size_bytes if teacher else None, student.size_bytes),
        },
        "checkpoints": dict(checkpoints),
        "stages": [dict(stage) for stage in stages],
        "data": dict(data),
        "benchmark": dict(benchmark) if benchmark else None,
        "throughput": dict(throughput) if throughput else None,
        "environment": dict(environment),
    }


def ratio(numerator: float | None, denominator: float | None) -> float | None:
    """Return the quotient, ``None`` where either is missing or the denominator is 0."""
    return numerator / denominator if numerator is not None and denominator else None


def flatten_figures(report: Mapping[str, Any], prefix: str = "report") -> dict[str, float]:
    """Return the report's figures about the models as ``report/student/f1`` and the like, for loggers."""
    flat: dict[str, float] = {}
    for key in ("student", "teacher", "retention", "speedup", "compression"):
        flat |= _flatten(report[key], f"{prefix}/{key}")
    return flat


def comparison_table(report: Mapping[str, Any], caption: str = "") -> Table:
    """Return the report as a table: teacher | student | ratio, or the student alone without a teacher.

    The ratio is student / teacher for scores and throughput, teacher / student for sizes, times and scores where lower
    is better: more is better in all.
    """
    student, teacher = report["student"], report["teacher"]
    table = Table(title="Teacher and student" if teacher else "Result", caption=caption or None)
    table.add_column("")
    for column in ("teacher", "student", "ratio") if teacher else ("student",):
        table.add_column(column, justify="right")

    def add(label: str, get: Any, form: str, more_is_better: bool, ratio_form: str = "{:.2f}x") -> None:
        mine, other = get(student), get(teacher) if teacher else None
        if mine is None and other is None:
            return
        quotient = ratio(mine, other) if more_is_better else ratio(other, mine)
        cells = [
            _format(other, form),
            _format(mine, form),
            _format(quotient, ratio_form),
        ]
        table.add_row(label, *(cells if teacher else cells[1:2]))

    headline = [Score(**score) for score in report["headline"]]
    falling = {score.name for score in headline if not score.higher_is_better}
    for name in table_scores(student["scores"], headline):
        label = score_label(name, headline)
        add(label, lambda side, name=name: side["scores"].get(name), "{:.2f}", name not in falling, "{:.3f}")
    table.add_section()
    add("parameters", lambda side: side["num_parameters"], "{:,}", more_is_better=False)
    add("size, MB", lambda side: side["size_bytes"] / 1e6, "{:.2f}", more_is_better=False)
    point = _point(report["benchmark"])
    for percentile in ("p50", "p95"):
        add(
            f"{percentile}, ms{point}",
            lambda side, percentile=percentile: side["latency_ms"][percentile],
            "{:.2f}",
            more_is_better=False,
        )
    add(f"windows/s{point}", lambda side: side["windows_per_second"], "{:.1f}", True, "{:.3f}")
    return table


def scores_table(scores: Mapping[str, float], title: str, headline: Sequence[Score] = ()) -> Table:
    """Return one model's scores as a table, in the order of the comparison."""
    table = Table(title=title)
    table.add_column("")
    table.add_column("student", justify="right")
    for name in table_scores(scores, headline):
        table.add_row(score_label(name, headline), _format(scores[name], "{:.2f}"))
    for name in sorted(name for name in scores if name.startswith(_COUNT_PREFIX)):
        table.add_row(name.removeprefix(_COUNT_PREFIX).replace("_", " "), _format(scores[name], "{:,.0f}"))
    return table


def scores_line(scores: Mapping[str, float], headline: Sequence[Score]) -> str:
    """Return what was scored and the headline scores in one line.

    Example:
        >>> from distill.tasks.base import Score
        >>> scores_line({"f1": 81.906, "num_questions": 1551.0}, [Score("f1", "F1")])
        '1,551 questions; F1 81.91'
    """
    counted = [name for name in scores if name.startswith(_COUNT_PREFIX)]
    counts = [f"{scores[name]:,.0f} {name.removeprefix(_COUNT_PREFIX).replace('_', ' ')}" for name in counted]
    figures = [f"{score.label} {scores[score.name]:.2f}" for score in headline if score.name in scores]
    return "; ".join(", ".join(part) for part in (counts, figures) if part)


def table_scores(scores: Mapping[str, float], headline: Sequence[Score] = ()) -> list[str]:
    """Return the scores to show, in order: headline, the SQuAD script's, no-answer split, F1 of each tag, all else."""
    squad = ["exact_match", "f1", "squad/exact_match", "squad/f1", "has_answer/f1", "no_answer/f1"]
    first = list(dict.fromkeys([*(score.name for score in headline), *squad]))
    shown = [name for name in first if name in scores]
    # Exact match of a slice says little beside its F1; the full set is in report.json.
    rest = [name for name in scores if not name.startswith(_COUNT_PREFIX) and not name.endswith("/exact_match")]
    rest = [name for name in rest if name not in first]
    return shown + sorted(rest, key=lambda name: (not name.endswith("/f1"), name))


def score_label(name: str, headline: Sequence[Score] = ()) -> str:
    """Return a score's name as the table shows it.

    Example:
        >>> score_label("unseen_wording/f1"), score_label("squad/exact_match")
        ('F1, unseen_wording', 'EM, SQuAD script')
    """
    labels = {score.name: score.label for score in headline}
    if name in labels:
        return labels[name]
    part, _, metric = name.rpartition("/")
    slices = {"squad": "SQuAD script", "has_answer": "has answer", "no_answer": "no answer"}
    label = {"exact_match": "EM", "f1": "F1"}.get(metric, metric)
    return f"{label}, {slices.get(part, part)}" if part else label


def _retention(student: Mapping[str, float], teacher: Mapping[str, float], score: Score) -> float | None:
    mine, other = student.get(score.name), teacher.get(score.name)
    return ratio(mine, other) if score.higher_is_better else ratio(other, mine)


def _describe(figures: ModelFigures, headline: Sequence[Score]) -> dict[str, Any]:
    timings = asdict(figures.latency) if figures.latency else {}
    return {
        **{score.name: figures.scores.get(score.name) for score in headline},
        "num_parameters": figures.num_parameters,
        "size_bytes": figures.size_bytes,
        "latency_ms": {"p50": timings.get("p50_ms"), "p95": timings.get("p95_ms")},
        "windows_per_second": timings.get("windows_per_second"),
        "peak_memory_bytes": timings.get("peak_memory_bytes"),
        "scores": dict(figures.scores),
    }


def _p50(figures: ModelFigures | None) -> float | None:
    return figures.latency.p50_ms if figures and figures.latency else None


def _flatten(value: Any, name: str) -> dict[str, float]:
    if isinstance(value, Mapping):
        return {key: item for part in value for key, item in _flatten(value[part], f"{name}/{part}").items()}
    return {} if value is None else {name: float(value)}


def _format(value: float | None, form: str) -> str:
    return "-" if value is None else form.format(value)


def _point(benchmark: Mapping[str, Any] | None) -> str:
    if not benchmark:
        return ""
    return f" (batch {benchmark['batch_size']} x {benchmark['length']})"
