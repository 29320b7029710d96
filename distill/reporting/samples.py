"""A readable handful of predictions, spread over where the models agree and where they do not."""

from __future__ import annotations

import zlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import chain, islice, zip_longest

from distill.tasks.base import Shown

#: Names of the columns of :func:`sample_rows`.
COLUMNS = ("question_id", "question", "context", "reference", "student", "teacher")


def sample_rows(
    examples: Sequence[Shown],
    student: Mapping[str, str],
    teacher: Mapping[str, str] | None,
    num_samples: int,
    num_context_chars: int = 160,
) -> list[dict[str, str]]:
    """Return up to ``num_samples`` rows of question, context, reference and both models' answers.

    Examples fall into groups by whether the student matches a reference, whether the teacher does, and whether the
    two say the same; the groups take turns. Inside a group the order is that of a checksum of the item id: the
    same in every run, and not the order of the file.

    Args:
        examples: The examples; those without a prediction of the student are passed over.
        student: Item id to the student's answer.
        teacher: Item id to the teacher's answer; without a teacher its column is absent.
        num_samples: Rows at most.
        num_context_chars: Characters of context to show, around the reference or else the student's answer.
    """
    groups: dict[tuple[bool, bool, bool], list[Shown]] = defaultdict(list)
    for example in sorted(examples, key=_shuffled_order):
        if example.item_id not in student:
            continue
        mine = student[example.item_id]
        other = (teacher or {}).get(example.item_id, "")
        accepted = set(example.references) or {""}
        groups[mine in accepted, other in accepted, mine == other].append(example)
    turns = chain.from_iterable(zip_longest(*(groups[key] for key in sorted(groups))))
    chosen = islice((example for example in turns if example is not None), num_samples)
    return [_row(example, student, teacher, num_context_chars) for example in chosen]


def excerpt(context: str, start_char: int, num_chars: int) -> str:
    """Return about ``num_chars`` characters of ``context`` around ``start_char``, cuts marked by an ellipsis.

    Example:
        >>> excerpt("uno dos tres cuatro cinco", start_char=8, num_chars=8)
        '…dos tres…'
    """
    start = max(0, min(start_char - num_chars // 2, len(context) - num_chars))
    end = min(len(context), start + num_chars)
    text = " ".join(context[start:end].split())
    return f"{'…' if start > 0 else ''}{text}{'…' if end < len(context) else ''}"


def _shuffled_order(example: Shown) -> tuple[int, str]:
    return zlib.crc32(example.item_id.encode()), example.item_id


def _row(
    example: Shown, student: Mapping[str, str], teacher: Mapping[str, str] | None, num_context_chars: int
) -> dict[str, str]:
    answer = student[example.item_id]
    found = example.context.find(answer) if answer else 0
    start_char = example.start_char if example.start_char is not None else max(found, 0)
    row = {
        "question_id": example.item_id,
        "question": example.question,
        "context": excerpt(example.context, start_char, num_context_chars),
        "reference": " | ".join(example.references),
        "student": answer,
    }
    return row if teacher is None else {**row, "teacher": teacher.get(example.item_id, "")}
