"""Figures over the steps of a run: scores against the teacher's, and every term of the loss."""

from __future__ import annotations

from collections.abc import Sequence

from distill.reporting.charts.lines import Level, Point, Series, line_chart, thin
from distill.reporting.charts.markup import Element
from distill.reporting.comparison import score_label
from distill.reporting.models import is_percentage, score_axis
from distill.reporting.page.html import figure
from distill.reporting.run import Run

#: Points of a line, at most.
_MAX_POINTS = 150
#: Lines of a chart, at most; more cannot be told apart.
_MAX_LINES = 6

#: Units of what modules and callbacks log on every run.
_UNITS = {
    "learning_rate": "learning rate",
    "loss": "weighted sum of the terms",
    "throughput/tokens_per_second": "tokens/s",
    "throughput/model_flops_per_second": "FLOP/s",
    "throughput/peak_share": "share of the measured matrix peak",
}
#: Prefixes that have figures of their own, or that repeat what those show.
_KNOWN_PREFIXES = ("train", "val", "test", "report", "latency", "final")


def score_figures(run: Run) -> list[Element]:
    """Return the validation scores over steps: percentages together, any other score alone, then F1 of each slice."""
    scores = {score["name"]: score["label"] for score in run.headline if f"val/{score['name']}" in run.curves}
    percentages = {name: label for name, label in scores.items() if is_percentage(name)}
    made = []
    if percentages:
        title = f"{' and '.join(percentages.values())} on validation data"
        made.append(_score_figure(run, title, percentages, "score, %"))
    for name, label in scores.items():
        if name not in percentages:
            title = f"{label} on validation data"
            made.append(_score_figure(run, title, {name: label}, score_axis(name, label)))
    slices = [name.removeprefix("val/") for name in run.curves if name.startswith("val/") and name.endswith("/f1")]
    kept = [name for name in sorted(slices) if name != "squad/f1"][:_MAX_LINES]
    if kept:
        title = "F1 by kind of question"
        lines = [
            Series(score_label(name).removeprefix("F1, "), run.curves[f"val/{name}"], f"c{index + 1}", marks=True)
            for index, name in enumerate(kept)
        ]
        made.append(figure(title, _over_steps(run, title, "F1, %", lines, log_y=False)))
    return made


def loss_figures(run: Run) -> list[Element]:
    """Return each loss term over steps, raw; then the weighted sum, the learning rate and all else that is logged."""
    terms: dict[str, list[Point]] = {}
    other: list[str] = []
    stages = {stage.label: stage for stage in run.stages}
    for name in run.curves:
        prefix, _, rest = name.partition("/")
        stage, _, term = rest.partition("/")
        if prefix == "train" and term:
            # Until its epoch is over Lightning goes on logging the last value of a term that is no longer computed.
            points = [point for point in run.curves[name] if stage not in stages or point[0] <= stages[stage].end]
            terms.setdefault(term, []).extend(points)
        elif (prefix == "train" and rest != "stage") or (prefix not in _KNOWN_PREFIXES and _is_curve(run, name)):
            other.append(name)
    made = [_curve_figure(run, f"Loss term: {term}", sorted(points), "raw mean") for term, points in terms.items()]
    for name in sorted(other, key=lambda name: (name != "train/loss", name)):
        title = name.removeprefix("train/").replace("_", " ").replace("/", ": ")
        title = "total loss" if title == "loss" else title
        unit = _UNITS.get(name.removeprefix("train/"), title.rpartition(": ")[2])
        # Losses fall by orders of magnitude; rates and throughputs are compared with 0.
        is_loss = name == "train/loss"
        made.append(_curve_figure(run, title[0].upper() + title[1:], run.curves[name], unit, from_zero=not is_loss))
    return made


def _is_curve(run: Run, name: str) -> bool:
    return len(run.curves[name]) > 1


def _score_figure(run: Run, title: str, scores: dict[str, str], axis: str) -> Element:
    teacher = run.scores("teacher")
    # The main score has the first colour here as in every chart.
    names = sorted(scores, key=lambda name: name != run.main_score["name"])
    styles = {name: f"c{index + 1}" for index, name in enumerate(names)}
    lines = [Series(label, run.curves[f"val/{name}"], styles[name], marks=True) for name, label in scores.items()]
    levels = [
        Level(f"teacher {label}", teacher[name], f"{styles[name]} dashed")
        for name, label in scores.items()
        if name in teacher
    ]
    best = (run.report.get("checkpoints") or {}).get("best") or {}
    result = {name: value for name, value in (best.get("scores") or {}).items() if name in scores}
    lines += [Series("", [(best["step"], value)], f"{styles[name]} best") for name, value in result.items()]
    note = "Dashed: the teacher. " if levels else ""
    note += "Ring: the checkpoint that is the result." if result else ""
    # Percentages are read by their distance from 100, anything else by its order of magnitude.
    log_y = False if all(is_percentage(name) for name in scores) else None
    return figure(title, _over_steps(run, title, axis, lines, levels, log_y), note.strip())


def _curve_figure(run: Run, title: str, points: Sequence[Point], axis: str, from_zero: bool = False) -> Element:
    means, band = thin(points, _MAX_POINTS)
    is_thinned = len(means) < len(points)
    series = Series("", means, "c1", band=band if is_thinned else ())
    note = "Line: mean of neighbouring values; band: their range." if is_thinned else ""
    return figure(title, _over_steps(run, title, axis, [series], from_zero=from_zero), note)


def _over_steps(
    run: Run,
    title: str,
    axis: str,
    series: Sequence[Series],
    levels: Sequence[Level] = (),
    log_y: bool | None = None,
    from_zero: bool = False,
) -> Element:
    return line_chart(
        title,
        "optimizer step",
        axis,
        series,
        levels,
        spans=run.stages,
        x_bounds=(0.0, max(run.num_steps, 1.0)),
        log_y=log_y,
        from_zero=from_zero,
    )
