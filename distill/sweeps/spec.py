"""A sweep as its YAML describes it, in W&B's format: what is varied, what is measured, what is run."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml

from distill.sweeps.parameters import Parameter, parse_parameter
from distill.types import UserError

#: What W&B runs where a sweep does not say.
_DEFAULT_COMMAND = ("${env}", "${interpreter}", "${program}", "${args}")
_KEYS = frozenset(
    {"program", "method", "metric", "parameters", "early_terminate", "command"}
    | {"name", "project", "entity", "description", "run_cap"}
)
_MACRO = re.compile(r"\$\{([^}]*)\}")


@dataclass(frozen=True)
class Hyperband:
    """When trials are compared and stopped early, see :mod:`distill.sweeps.stopping`.

    Attributes:
        rungs: Numbers of scores after which a trial is compared.
        eta: A trial is stopped if more than ``1 / eta`` of all are better.
    """

    rungs: tuple[int, ...]
    eta: float


@dataclass(frozen=True)
class Sweep:
    """A sweep.

    Attributes:
        name: What it is called.
        method: How settings are chosen.
        metric: Logged score to optimise, such as ``final/f1``.
        maximize: Whether more of it is better.
        parameters: What is varied.
        command: What is run for a trial, with W&B's macros.
        program: The script that ``${program}`` stands for.
        early_stopping: When trials are stopped early; None: never.
    """

    name: str
    method: Literal["bayes", "random", "grid"]
    metric: str
    maximize: bool
    parameters: tuple[Parameter, ...]
    command: tuple[str, ...]
    program: str
    early_stopping: Hyperband | None = None

    @property
    def score(self) -> str:
        """Name of the metric among the scores of a report: without the group that it is logged in."""
        return self.metric.partition("/")[2] or self.metric

    def command_line(self, settings: Mapping[str, Any]) -> list[str]:
        """Return what a trial runs: the command with its macros filled as W&B's agent does it."""
        arguments = [f"--{name}={value}" for name, value in settings.items()]
        single = {"env": "/usr/bin/env", "interpreter": sys.executable, "program": self.program}
        filled: list[str] = []
        for part in self.command:
            if part == "${args}":
                filled += arguments
            elif (macro := part[2:-1]) in single and part == f"${{{macro}}}":
                filled.append(single[macro])
            else:
                filled.append(re.sub(r"\$\{envvar:(\w+)\}", lambda match: os.environ.get(match[1], match[1]), part))
        return filled


def read_sweep(path: Path) -> Sweep:
    """Read and check a sweep.

    Raises:
        UserError: If the file is missing or damaged, or asks for something that is not known here.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from error
    except yaml.YAMLError as error:
        raise UserError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from error
    try:
        return parse_sweep(content, path.stem)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error


def parse_sweep(content: Any, name: str) -> Sweep:
    """Return the sweep that the content of a YAML file describes.

    Raises:
        UserError: If something is missing, unknown or out of range; the message names the item.
    """
    if not isinstance(content, Mapping):
        raise UserError("a sweep is a mapping with method, metric and parameters")
    if unknown := sorted(map(str, content.keys() - _KEYS)):
        raise UserError(f"{unknown[0]} is no key of a sweep; known are {', '.join(sorted(_KEYS))}")
    method, metric, parameters = content.get("method"), content.get("metric"), content.get("parameters")
    if method not in ("bayes", "random", "grid"):
        raise UserError(f"method must be bayes, random or grid, not {method!r}")
    if not isinstance(metric, Mapping) or not metric.get("name"):
        raise UserError("metric needs a name, such as {name: final/f1, goal: maximize}")
    goal = metric.get("goal", "minimize")
    if goal not in ("minimize", "maximize"):
        raise UserError(f"metric.goal must be minimize or maximize, not {goal!r}")
    if not isinstance(parameters, Mapping) or not parameters:
        raise UserError("parameters needs at least one key of the command line")
    command = tuple(map(str, content.get("command") or _DEFAULT_COMMAND))
    _check_command(command)
    return Sweep(
        name=str(content.get("name", name)),
        method=method,
        metric=str(metric["name"]),
        maximize=goal == "maximize",
        parameters=tuple(parse_parameter(str(key), value) for key, value in parameters.items()),
        command=command,
        program=str(content.get("program", "train.py")),
        early_stopping=_hyperband(content["early_terminate"]) if content.get("early_terminate") else None,
    )


def _check_command(command: Sequence[str]) -> None:
    known = ("env", "interpreter", "program", "args")
    for part in command:
        for macro in _MACRO.findall(part):
            if macro not in known and not macro.startswith("envvar:"):
                raise UserError(f"command: ${{{macro}}} is not known; known are {', '.join(known)} and envvar:NAME")
    if "${args}" not in command:
        raise UserError("command: ${args} is missing, so no trial would get its settings")


def _hyperband(value: Any) -> Hyperband:
    """Return the rungs by W&B's rules: the scores ``min_iter * eta^k``, or ``s`` of ``max_iter / eta^k``, from 0."""
    if not isinstance(value, Mapping) or value.get("type") != "hyperband":
        raise UserError("early_terminate.type must be hyperband")
    eta, least, most = value.get("eta", 3), value.get("min_iter"), value.get("max_iter")
    if not isinstance(eta, int | float) or eta <= 1:
        raise UserError(f"early_terminate.eta must be above 1, not {eta}")
    if isinstance(least, int) and least >= 1:
        bands = [int(least * eta**k) for k in range(20)]
    elif isinstance(most, int) and isinstance(value.get("s"), int):
        bands = [int(most / eta**k) for k in range(1, value["s"] + 1) if most / eta**k >= 1]
    else:
        raise UserError("early_terminate needs min_iter of at least 1, or max_iter and s")
    return Hyperband(tuple(sorted({band + 1 for band in bands})), float(eta))
