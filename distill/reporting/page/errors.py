"""Where the models err: by group of items, where they agree, and what they say where they differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from distill.reporting.charts.markup import Element, element
from distill.reporting.charts.rows import Row, Share, dot_chart, share_chart
from distill.reporting.comparison import score_label
from distill.reporting.models import score_axis
from distill.reporting.page.html import details, figure, table
from distill.reporting.run import Run

#: Name in the report to label and colour, in the order of the bar.
_AGREEMENT = {
    "both": ("both right", "c1"),
    "teacher_only": ("only the teacher right", "teacher"),
    "student_only": ("only the student right", "c2"),
    "neither": ("neither right", "c5"),
}


def breakdown_figures(run: Run) -> list[Element]:
    """Return one figure for each breakdown of the report: the main score of every group, and a table of all scores."""
    name, label = run.main_score["name"], run.main_score["label"]
    made = []
    for breakdown, groups in (run.report.get("breakdowns") or {}).items():
        rows = [
            Row(
                group["group"],
                group["student"][name],
                group["teacher"][name] if group["teacher"] else None,
                f"({group['num_items']:,})",
            )
            for group in groups
            if name in (group["student"] or {})
        ]
        if rows:
            title = f"{label} by {breakdown}"
            chart = dot_chart(title, score_axis(name, label), rows)
            made.append(figure(title, chart, "In brackets: questions.", details("All scores", _score_table(groups))))
    return made


def agreement_figure(run: Run) -> Element | None:
    """Return how many items both, one or neither of the models got right; nothing without a teacher."""
    counts = run.report.get("agreement")
    if not counts:
        return None
    title = "Agreement of student and teacher"
    shares = [Share(label, counts[name], style) for name, (label, style) in _AGREEMENT.items()]
    return figure(title, share_chart(title, shares), "Right: an exact match with a reference answer.")


def examples_title(run: Run) -> str:
    """Return what the examples have in common."""
    return "Where the student differs" if _has_teacher(run) else "Where the student errs"


def examples(run: Run) -> list[Element]:
    """Return sample items whose answer differs: from the teacher's, or without a teacher from every reference."""
    differing = [
        row
        for row in run.samples
        if (
            row["student"] != row["teacher"]
            if _has_teacher(run)
            else row["student"] not in row["reference"].split(" | ")
        )
    ]
    return [_example(run, row) for row in differing]


def _has_teacher(run: Run) -> bool:
    return any("teacher" in row for row in run.samples)


def _score_table(groups: Sequence[Mapping[str, Any]]) -> Element:
    models = [model for model in ("student", "teacher") if groups[0][model]]
    scores = list(groups[0]["student"])
    header = ["", "questions"]
    header += [f"{model} {score_label(score)}" for score in scores for model in models]
    rows = [
        [group["group"], f"{group['num_items']:,}"]
        + [f"{group[model][score]:.1f}" for score in scores for model in models]
        for group in groups
    ]
    return table(header, rows)


def _example(run: Run, row: Mapping[str, str]) -> Element:
    """Return one item as a card: question, context with the reference marked, and who said what."""
    parts: list[Element | str | None] = [
        element("h3", row["question"]),
        element("p", *_marked(row["context"], row["reference"].split(" | ")[0])),
    ]
    answers = [element("dt", "reference"), element("dd", row["reference"] or "no answer")]
    for model in ("student", "teacher"):
        if model in row:
            score = (run.outcomes.get(row["question_id"]) or {}).get(model, {}).get(run.main_score["name"])
            note = f"  {run.main_score['label']} {score:.0f}" if score is not None else ""
            answers += [
                element("dt", model, class_=model),
                element("dd", row[model] or "no answer", element("small", note) if note else None),
            ]
    return element("article", *parts, element("dl", *answers))


def _marked(context: str, reference: str) -> list[Element | str]:
    """Return the context with the first occurrence of the reference marked."""
    before, found, after = context.partition(reference) if reference else (context, "", "")
    return [before, element("mark", found), after] if found else [context]
