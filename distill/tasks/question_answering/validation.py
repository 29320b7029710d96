"""One policy for raw questions of any source: check, repair what is certain, drop and count the rest."""

from __future__ import annotations

from collections import Counter
from typing import Any, TypeVar

from distill.metrics.squad import RESERVED_TAGS
from distill.tasks.question_answering.report import ReadingReport
from distill.tasks.rows import check_text, shown
from distill.types import Answer, Example, UserError

T = TypeVar("T")

#: Above this share of misplaced answers a file is taken for something other than SQuAD data.
MAX_MISPLACED_SHARE = 0.05

_KINDS: dict[type, str] = {str: "text", int: "a whole number", bool: "true or false", list: "a list", dict: "an object"}


def require(raw: object, key: str, kind: type[T], where: str) -> T:
    """Return ``raw[key]``, checked to be of the kind.

    Raises:
        UserError: If ``raw`` is no object, has no such key, or holds another kind there.
    """
    if not isinstance(raw, dict):
        raise UserError(f"{where}: expected an object with {key!r}, got {shown(raw)}: is this SQuAD form?")
    if key not in raw:
        raise UserError(f"{where}: {key!r} is missing: is this SQuAD form?")
    value = raw[key]
    is_kind = isinstance(value, kind) and not (kind is int and isinstance(value, bool))
    if not is_kind:
        raise UserError(f"{where}: {key!r} must be {_KINDS[kind]}, got {shown(value)}")
    if isinstance(value, str):
        check_text(value, repr(key), where)
    return value  # type: ignore[no-any-return]


def require_text(raw: object, key: str, where: str) -> str:
    """Return ``raw[key]``, checked to be text with at least one visible character.

    Raises:
        UserError: If it is missing, of another kind, or blank.
    """
    text = require(raw, key, str, where)
    if not text.strip():
        raise UserError(f"{where}: {key!r} is empty: give it text or remove the item")
    return text


class QuestionValidator:
    """Turns the raw questions of one source into examples under the stated policy, and counts what it did.

    - A wrong schema, an empty context or question, a repeated id, or a valid answer to an impossible question is an
      error.
    - An empty answer is dropped. An answer that is not at its offset is moved if its text occurs exactly once, else
      dropped. With ``strict`` each of these is an error.
    - A question left without an answer, and not marked as impossible, is dropped; with ``require_answers=False``
      (questions to be answered, whose answers nobody knows) it is kept.
    - More than 5 % misplaced answers (moved or dropped, among the non-empty ones) is an error of the source.

    Args:
        source: Name of the file or data set, for messages.
        seen: Identifiers read so far and where; shared by the validators of one call.
        strict: Whether a repair is an error.
        require_answers: Whether every question must have an answer or be marked as impossible.
    """

    def __init__(self, source: str, seen: dict[str, str], strict: bool = False, require_answers: bool = True) -> None:
        self.source = source
        self.seen = seen
        self.strict = strict
        self.require_answers = require_answers
        self.counts: Counter[str] = Counter(files=1)
        self._first_misplaced = ""

    def validate(self, raw: object, context: str, where: str) -> Example | None:
        """Return the example, or None if the question was dropped.

        Raises:
            UserError: If the question breaks the policy.
        """
        question_id = require_text(raw, "id", where)
        where = f"{where}: question {question_id!r}"
        if question_id in self.seen:
            raise UserError(f"{where}: the id is used twice, first in {self.seen[question_id]}: make ids unique")
        self.seen[question_id] = where
        question = require_text(raw, "question", where)
        assert isinstance(raw, dict)
        is_impossible = require(raw, "is_impossible", bool, where) if "is_impossible" in raw else False
        is_answered = self.require_answers or "answers" in raw
        entries = require(raw, "answers", list, where) if is_answered else []
        answers = self._answers(entries, context, where)
        if is_impossible and answers:
            raise UserError(f"{where}: is_impossible is true but the question has answers: correct one of the two")
        if not answers and not is_impossible and self.require_answers:
            self._refuse_if_strict(f"{where}: it has no answer and is not marked as impossible")
            self.counts["questions_dropped"] += 1
            return None
        self.counts["questions"] += 1
        self.counts["impossible"] += is_impossible
        self.counts["answers"] += len(answers)
        return Example(question_id, question, context, answers, _tags(raw, where))

    def report(self) -> ReadingReport:
        """Return the counts of the whole source.

        Raises:
            UserError: If more than 5 % of the non-empty answers are not at their offset.
        """
        report = ReadingReport(**self.counts)
        num_answers = report.answers + report.answers_dropped
        if report.misplaced > MAX_MISPLACED_SHARE * num_answers:
            raise UserError(
                f"{self.source}: {report.misplaced:,} of {num_answers:,} answers are not at their answer_start (more "
                f"than {MAX_MISPLACED_SHARE:.0%}), the first in {self._first_misplaced}: is this SQuAD form?"
            )
        return report

    def _answers(self, entries: list[Any], context: str, where: str) -> tuple[Answer, ...]:
        answers = []
        num_empty = 0
        for entry in entries:
            text = require(entry, "text", str, where)
            start_char = require(entry, "answer_start", int, where)
            if not text.strip():
                num_empty += 1
            elif start_char >= 0 and context.startswith(text, start_char):
                answers.append(Answer(text, start_char))
            else:
                answers.extend(self._moved(text, start_char, context, where))
        if num_empty:
            self._refuse_if_strict(f"{where}: an answer is empty")
            self.counts["empty_answers_dropped"] += num_empty
            self.counts["questions_with_empty_answers"] += 1
        return tuple(answers)

    def _moved(self, text: str, start_char: int, context: str, where: str) -> list[Answer]:
        """Return the answer at the only place where its text occurs, or nothing."""
        self._refuse_if_strict(f"{where}: the answer {text!r} is not at answer_start {start_char}")
        self._first_misplaced = self._first_misplaced or where
        only_char = context.find(text)
        if only_char == -1 or context.find(text, only_char + 1) != -1:
            self.counts["answers_dropped"] += 1
            return []
        self.counts["answers_moved"] += 1
        return [Answer(text, only_char)]

    def _refuse_if_strict(self, message: str) -> None:
        if self.strict:
            raise UserError(f"{message}: correct it, or read without `strict`")


def _tags(raw: dict[str, Any], where: str) -> tuple[str, ...]:
    tags = require(raw, "tags", list, where) if "tags" in raw else []
    for tag in tags:
        if not isinstance(tag, str) or tag.strip() in RESERVED_TAGS:
            raise UserError(f"{where}: tag {shown(tag)} must be text and none of {sorted(RESERVED_TAGS)}")
    return tuple(dict.fromkeys(tags))
