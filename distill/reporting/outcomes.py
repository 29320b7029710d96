"""Item by item: where student and teacher are right, and how that differs between groups of items."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from distill.tasks.base import EvaluationResult

#: The scores of an item that say whether it was answered right, 100 or 0; the first that the items have counts.
_RIGHT = ("exact_match", "accuracy")

Outcomes = Mapping[str, Mapping[str, float]]


def compare_outcomes(student: EvaluationResult, teacher: EvaluationResult | None) -> dict[str, Any]:
    """Return the report's parts that come from single items, as plain data.

    ``breakdowns``: name to a row for each group: ``group``, ``num_items``, and under ``student`` and ``teacher`` the
    mean of each score over the group's items (``None`` without a teacher). ``agreement``: how many items ``both``,
    ``teacher_only``, ``student_only`` or ``neither`` got exactly right; ``None`` without a teacher or such a score.
    """
    models = {"student": student.outcomes, "teacher": teacher.outcomes if teacher else None}
    return {
        "breakdowns": {
            name: [
                {"group": group, "num_items": len(ids)}
                | {model: mean_scores(outcomes, ids) if outcomes else None for model, outcomes in models.items()}
                for group, ids in groups.items()
            ]
            for name, groups in student.breakdowns.items()
        },
        "agreement": count_agreement(student.outcomes, teacher.outcomes) if teacher else None,
    }


def mean_scores(outcomes: Outcomes, ids: Sequence[str]) -> dict[str, float]:
    """Return the mean of each score over the items named; nothing without items.

    Raises:
        KeyError: If an item has no outcome.
    """
    rows = [outcomes[item_id] for item_id in ids]
    return {name: sum(row[name] for row in rows) / len(rows) for name in (rows[0] if rows else ())}


def count_agreement(student: Outcomes, teacher: Outcomes) -> dict[str, int] | None:
    """Count the items that both, only the teacher, only the student or neither got right, over those that both have.

    Returns:
        The four counts, or ``None`` if no item of both says whether it is right.
    """
    common = [item_id for item_id in student if item_id in teacher]
    right = next((name for name in _RIGHT if common and name in student[common[0]]), None)
    if right is None:
        return None
    names = {
        (True, True): "both",
        (False, True): "teacher_only",
        (True, False): "student_only",
        (False, False): "neither",
    }
    counts = dict.fromkeys(names.values(), 0)
    for item_id in common:
        counts[names[student[item_id][right] == 100, teacher[item_id][right] == 100]] += 1
    return counts


def outcome_rows(student: EvaluationResult, teacher: EvaluationResult | None) -> list[dict[str, Any]]:
    """Return a row for each item: ``id``, and under ``student`` and ``teacher`` the prediction with its scores."""
    models = {"student": student} | ({"teacher": teacher} if teacher else {})
    return [
        {"id": item_id}
        | {
            name: {"prediction": model.predictions.get(item_id), **model.outcomes.get(item_id, {})}
            for name, model in models.items()
        }
        for item_id in student.outcomes
    ]


def json_lines(rows: Iterable[Mapping[str, Any]]) -> str:
    """Return one line of JSON for each row."""
    return "".join(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n" for row in rows)
