"""Settings on which model and data must agree: named once, at the model or the run, and handed on to the data."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import Namespace
from lightning.pytorch.cli import LightningArgumentParser

from distill.models.loading import EMBEDDED
from distill.models.student import Student
from distill.types import UserError

#: What the data is not asked for, and where it comes from instead.
_SOURCES = {
    "tokenizer": "it is that of the model: set model.init_args.tokenizer, or what the model starts from",
    "vocabulary": "it is that of the student: set model.init_args.student.vocabulary",
    "task": "it is that of the model: set model.init_args.task",
    "seed": "it is that of the run: set seed_everything",
}
#: What parts of the data say for themselves.
_OF_PARTS = {"task"}
_OPTION = re.compile(rf"--data\.(?:[\w.]+\.)?({'|'.join(_SOURCES)})(?:=|$)")


def link_settings(parser: LightningArgumentParser) -> None:
    """Hand tokenizer, vocabulary, task and seed on to the data."""
    parser.link_arguments("model", "data.init_args.tokenizer", compute_fn=_tokenizer_of)
    parser.link_arguments("model", "data.init_args.vocabulary", compute_fn=_vocabulary_of)
    parser.link_arguments("model", "data.init_args.task", compute_fn=_task_of)
    parser.link_arguments("seed_everything", "data.init_args.seed", compute_fn=int)


def refuse_linked(arguments: Sequence[str], configs: Iterable[Path]) -> None:
    """Refuse linked settings that are given all the same: the parser would put its own over them, unsaid.

    Args:
        arguments: The command line.
        configs: The files that it names.

    Raises:
        UserError: At the first one found.
    """
    given = [
        match
        for argument in arguments
        if (match := _OPTION.match(argument)) and not (match[1] in _OF_PARTS and _is_of_a_part(match[0]))
    ]
    for match in given:
        raise UserError(f"{match[0].rstrip('=')}: {_SOURCES[match[1]]}")
    for path in configs:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        for place, name in _linked_keys(content.get("data") if isinstance(content, dict) else None, "data"):
            if name in _OF_PARTS and _is_of_a_part(place):
                continue
            raise UserError(f"{path}: {place}: {_SOURCES[name]}")


def _linked_keys(settings: Any, place: str) -> Iterator[tuple[str, str]]:
    """Yield where data of any depth is given a linked setting, and which."""
    if not isinstance(settings, dict):
        return
    for name, value in (settings.get("init_args") or {}).items():
        if name in _SOURCES:
            yield f"{place}.init_args.{name}", name
        yield from _linked_keys(value, f"{place}.init_args.{name}")
        for key, part in value.items() if isinstance(value, dict) else ():
            yield from _linked_keys(part, f"{place}.init_args.{name}.{key}")


def _is_of_a_part(place: str) -> bool:
    """Whether a setting belongs to a part of the data, such as ``data.main.task``, and not to the data as a whole."""
    return place.replace("init_args.", "").count(".") > 1


def _tokenizer_of(model: Namespace | None) -> str:
    """Return where the model's tokenizer lies: its own setting, else beside the student, teacher or model itself."""
    settings = (model.get("init_args") if model is not None else None) or {}
    student = settings.get("student") or {}
    folder = Student(init=student["init"]).folder if student.get("init") else None
    # The parser keeps what is inside a mapping as class_path and init_args once it has checked it.
    tasks = [task.get("init_args") or task for task in (settings.get("tasks") or {}).values()]
    teachers = [task.get("teacher") for task in tasks]
    named = (settings.get("tokenizer"), folder, settings.get("teacher"), settings.get("model"), *teachers)
    return next((str(source) for source in named if source), EMBEDDED)


def _task_of(model: Namespace | None) -> Any:
    """Return the model's task, where one is named: data of tasks with labels is read and cut by it."""
    return ((model.get("init_args") if model is not None else None) or {}).get("task")


def _vocabulary_of(model: Namespace | None) -> str:
    """Return which pieces the model's vocabulary has: all, unless its student's is trimmed."""
    student = ((model.get("init_args") if model is not None else None) or {}).get("student") or {}
    return str(student.get("vocabulary") or "full")
