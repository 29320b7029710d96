"""Questions from SQuAD v1.1 and v2.0 JSON files."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from distill.tasks.question_answering.report import ReadingReport
from distill.tasks.question_answering.validation import QuestionValidator, require, require_text
from distill.types import Example, UserError


def read_examples(
    files: Sequence[str | Path], strict: bool = False, require_answers: bool = True
) -> tuple[list[Example], ReadingReport]:
    """Read SQuAD JSON files in order, under the policy of :class:`QuestionValidator`.

    Args:
        files: JSON files, and folders that stand for all their ``*.json`` in the order of their names.
        strict: Whether an empty or misplaced answer is an error instead of being repaired or dropped.
        require_answers: Whether questions without an answer, and not marked as impossible, are dropped; pass False for
            questions to be answered.

    Raises:
        UserError: If a file cannot be read, is not in SQuAD form or breaks the policy, an identifier is used twice in
            any of the files, or there is no question at all.
    """
    examples: list[Example] = []
    report = ReadingReport()
    seen: dict[str, str] = {}
    paths = list(_json_files(files))
    for path in paths:
        found, counts = read_file(path, str(path), seen, strict, require_answers)
        examples += found
        report += counts
    check_not_empty(examples, ", ".join(str(path) for path in paths), report)
    return examples, report


def read_file(
    path: Path, source: str, seen: dict[str, str], strict: bool = False, require_answers: bool = True
) -> tuple[list[Example], ReadingReport]:
    """Read one SQuAD JSON file, which messages call ``source``; ``seen`` collects the identifiers."""
    validator = QuestionValidator(source, seen, strict, require_answers)
    articles = require(load_json(path, source), "data", list, source)
    examples = [
        example
        for where, context, raw in _questions(articles, source, validator)
        if (example := validator.validate(raw, context, where)) is not None
    ]
    return examples, validator.report()


def check_not_empty(examples: Sequence[Example], source: str, report: ReadingReport) -> None:
    """Raise a UserError if nothing was read."""
    if not examples:
        dropped = f" ({report.questions_dropped:,} were dropped)" if report.questions_dropped else ""
        raise UserError(f"{source}: no questions{dropped}: give at least one with an answer")


def _json_files(files: Sequence[str | Path]) -> Iterator[Path]:
    if not files:
        raise UserError("no files to read: give at least one SQuAD JSON file or folder")
    for path in map(Path, files):
        if not path.is_dir():
            yield path
            continue
        # Hidden files are the system's, such as the ._*.json that macOS writes.
        inside = sorted(file for file in path.iterdir() if _is_json(file))
        if not inside:
            raise UserError(f"{path}: the folder itself holds no *.json file")
        yield from inside


def _is_json(file: Path) -> bool:
    return file.suffix.lower() == ".json" and not file.name.startswith(".") and file.is_file()


def load_json(path: Path, source: str) -> Any:
    """Return the content of a JSON file, which messages call ``source``.

    Raises:
        UserError: If it cannot be read, or is not JSON in UTF-8.
    """
    try:
        return json.loads(path.read_bytes().decode("utf-8-sig"))
    except FileNotFoundError:
        raise UserError(f"{source}: no such file: check the path") from None
    except OSError as error:
        raise UserError(f"{source}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{source}: not UTF-8 (byte {error.start:,}): convert the file to UTF-8") from None
    except json.JSONDecodeError as error:
        raise UserError(f"{source}: malformed JSON in line {error.lineno}, column {error.colno}: {error.msg}") from None
    except ValueError as error:
        raise UserError(f"{source}: malformed JSON: {error}") from None
    except RecursionError:
        raise UserError(f"{source}: JSON nested too deeply: is this SQuAD form?") from None


def _questions(articles: Iterable[Any], source: str, validator: QuestionValidator) -> Iterator[tuple[str, str, Any]]:
    """Yield where it stands, the context and the raw question for every question, counting on the way."""
    for article_index, article in enumerate(articles):
        where = f"{source}: article {article_index}"
        paragraphs = require(article, "paragraphs", list, where)
        if "title" in article:
            where = f"{source}: article {require(article, 'title', str, where)!r}"
        validator.counts["articles"] += 1
        for paragraph_index, paragraph in enumerate(paragraphs):
            place = f"{where}: paragraph {paragraph_index}"
            context = require_text(paragraph, "context", place)
            questions = require(paragraph, "qas", list, place)
            validator.counts["paragraphs"] += 1
            for question_index, raw in enumerate(questions):
                yield where if _has_id(raw) else f"{place}: question {question_index}", context, raw


def _has_id(raw: object) -> bool:
    return isinstance(raw, dict) and isinstance(raw.get("id"), str) and bool(raw["id"].strip())
