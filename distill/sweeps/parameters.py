"""What is varied in a sweep: choices, and ranges of numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from distill.types import UserError

#: Distributions of ranges that are known here; W&B knows more.
DISTRIBUTIONS = ("uniform", "int_uniform", "q_uniform", "log_uniform_values")


@dataclass(frozen=True)
class Parameter:
    """One setting that is varied.

    Attributes:
        name: Key of the command line, such as ``schedule.stages.logits.temperature``.
        kind: ``values`` for a list of choices, else a range of numbers.
        values: The choices; a constant is a single one.
        low: Lower end of a range.
        high: Upper end of a range, inclusive.
        step: Distance of the numbers of a range, where it has one.
        is_log: Whether a range is drawn evenly over the logarithm.
    """

    name: str
    kind: Literal["values", "int", "float"]
    values: tuple[Any, ...] = ()
    low: float = 0.0
    high: float = 0.0
    step: float | None = None
    is_log: bool = False


def parse_parameter(name: str, value: Any) -> Parameter:
    """Return the parameter that one entry of a sweep's ``parameters`` describes.

    Raises:
        UserError: If the entry is incomplete, contradicts itself or is not known here.
    """
    where = f"parameters.{name}"
    if not isinstance(value, Mapping):
        raise UserError(f"{where}: give value, values, or min and max")
    if "parameters" in value:
        raise UserError(f"{where}: write nested settings as one dotted key")
    if "value" in value:
        return Parameter(name, "values", (value["value"],))
    if "values" not in value:
        return _range(name, where, value)
    if not isinstance(value["values"], list) or not value["values"]:
        raise UserError(f"{where}: values must be a list with at least one item")
    if "probabilities" in value:
        raise UserError(f"{where}: probabilities are only known to W&B; list a value several times instead")
    return Parameter(name, "values", tuple(value["values"]))


def _range(name: str, where: str, value: Mapping[str, Any]) -> Parameter:
    low, high = value.get("min"), value.get("max")
    if not isinstance(low, int | float) or not isinstance(high, int | float) or not low < high:
        raise UserError(f"{where}: give value, values, or min and max with min below max")
    are_integers = isinstance(low, int) and isinstance(high, int)
    distribution = value.get("distribution", "int_uniform" if are_integers else "uniform")
    step = value.get("q") if distribution == "q_uniform" else None
    is_log = distribution == "log_uniform_values"
    if distribution not in DISTRIBUTIONS:
        raise UserError(f"{where}: distribution {distribution!r} is not known here; known: {', '.join(DISTRIBUTIONS)}")
    if distribution == "int_uniform" and not are_integers:
        raise UserError(f"{where}: int_uniform needs whole numbers as min and max")
    if distribution == "q_uniform" and (not isinstance(step, int | float) or step <= 0):
        raise UserError(f"{where}: q_uniform needs q above 0")
    if is_log and low <= 0:
        raise UserError(f"{where}: log_uniform_values needs min above 0")
    return Parameter(name, "int" if distribution == "int_uniform" else "float", (), low, high, step, is_log)
