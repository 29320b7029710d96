"""A parser of the command line that says what is wrong, and only that."""

from __future__ import annotations

from typing import Any, NoReturn

from lightning.pytorch.cli import LightningArgumentParser

from distill.types import UserError


class BriefParser(LightningArgumentParser):
    """Says what is wrong, and only that."""

    def print_usage(self, file: Any = None) -> None:
        """Print nothing: the usage is three screens long and would bury the message."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """End with exit code 2 and our own message where there is one, else the essence of the parser's."""
        mistake = user_error(ex)
        super().error(str(mistake) if mistake is not None else _essence(message), None)
        raise AssertionError("the parser exits")


def user_error(error: BaseException | None) -> UserError | None:
    """Return the mistake that an error goes back to; the parser wraps what constructors raise."""
    while error is not None and not isinstance(error, UserError):
        error = error.__cause__ or error.__context__
    return error


def _essence(message: str) -> str:
    """Return the parser's message without the alternatives that were never meant and the echo of the whole value.

    A value that fits none of several types is explained once for each; None is always one of them.
    """
    lines = [line for line in message.split("Given value type:")[0].splitlines() if line.strip()]
    noise = ("Does not validate against any", "Subtypes:", "Errors:", "Expected a <class 'NoneType'>")
    kept = [line.strip().removeprefix("- ") for line in lines if not line.strip().removeprefix("- ").startswith(noise)]
    essence = " ".join(kept)
    if essence.endswith("fit.data, fit.model"):
        essence += ": name a configuration, such as --config configs/distill.yaml"
    return essence
