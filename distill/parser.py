"""A parser of the command line that says what is wrong, and only that."""

from __future__ import annotations

import re
import sys
from typing import Any, NoReturn

from lightning.pytorch.cli import LightningArgumentParser

from distill.suggestions import did_you_mean
from distill.types import UserError

#: What the parser says of a name that it does not know, and of a class that a module does not have.
_UNKNOWN_KEY = re.compile(r"(?:Group '(?P<group>[^']+)' does not accept o|Subcommand .* o|O)ption '(?P<key>[^']+)'")
_UNKNOWN_CLASS = re.compile(r"module '([\w.]+)' has no attribute '(\w+)'")

#: What it says where a single value stands for a list, and where it names that value, the innermost first.
_NO_LIST = re.compile(r"Expected a <class '(?:list|collections\.abc\.Sequence)'>(?:\. Got value: .*)?")
_VALUE = re.compile(r"(?:Got|Given) value: (?:NestedArg\(.*val=)?'?([\w./~-]+)'?\)?$", re.MULTILINE)

#: Markup of docstrings, from which help texts are taken: roles, such as :class:`~package.Name`, and literals.
_ROLE = re.compile(r":[a-z][a-z:]*:`(~?)([^`<]*?)(?:\s*<[^>]*>)?`")
_LITERAL = re.compile(r"(`{1,2})([^`]+)\1_{0,2}")


class BriefParser(LightningArgumentParser):
    """Says what is wrong, what may have been meant, and only that."""

    def parse_args(self, args: Any = None, *more: Any, **kwargs: Any) -> Any:
        """Parse arguments, of which a value of ``None`` is null.

        So the parser itself hands a null on to what is nested in a class, where it would be that text.
        """
        if args is not None:
            args = [arg.removesuffix("None") + "null" if arg.endswith("=None") else arg for arg in args]
        return super().parse_args(args, *more, **kwargs)

    def print_usage(self, file: Any = None) -> None:
        """Print nothing: the usage is three screens long and would bury the message."""

    def format_help(self) -> str:
        """Return the help as plain text."""
        return plain_text(super().format_help())

    def validate(self, *args: Any, **kwargs: Any) -> None:
        """Check a configuration; of a key that is unknown say which known one is like it."""
        try:
            super().validate(*args, **kwargs)
        except KeyError as error:
            message = str(error)
            if (unknown := _UNKNOWN_KEY.match(message)) and "did you mean" not in message:
                prefix = f"{unknown['group']}." if unknown["group"] else ""
                parser: Any = getattr(error, "subcommand_parser", self)
                known = [key.removeprefix(prefix) for key in parser._keys() if key.startswith(prefix)]
                error.args = (message + did_you_mean(unknown["key"], known),)
            raise

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """End with exit code 2 and our own message where there is one, else the essence of the parser's."""
        mistake = user_error(ex)
        super().error(str(mistake) if mistake is not None else self._explained(message), None)
        raise AssertionError("the parser exits")

    def _explained(self, message: str) -> str:
        essence = _essence(message)
        if essence.startswith("unrecognized arguments: "):
            names = [word[2:].partition("=")[0] for word in essence.split() if word.startswith("--")]
            essence += next((hint for name in names if (hint := did_you_mean(name, self._keys(), "--"))), "")
        return essence

    def _keys(self) -> list[str]:
        """Return the dotted names of everything that can be set."""
        return [action.dest for action in self._actions if not action.dest.endswith("help")]


def plain_text(text: str) -> str:
    """Return text without the markup of docstrings.

    Example:
        >>> plain_text("``None`` or a :class:`~lightning.Trainer`, see :ref:`its guide <guide>`")
        'None or a Trainer, see its guide'
    """
    text = _ROLE.sub(lambda role: role[2].rpartition(".")[2] if role[1] else role[2], text)
    return _LITERAL.sub(lambda literal: literal[2], text)


def user_error(error: BaseException | None) -> UserError | None:
    """Return the mistake that an error goes back to; the parser wraps what constructors raise."""
    while error is not None and not isinstance(error, UserError):
        error = error.__cause__ or error.__context__
    return error


def _essence(message: str) -> str:
    """Return the parser's message without the alternatives that were never meant and the echo of the whole value.

    A value that fits none of several types is explained once for each; None is always one of them.
    """
    value = _VALUE.search(message)
    wanted = f"it takes a list: write '[{value[1]}]'" if value else "it takes a list, such as '[first, second]'"
    lines = [line for line in message.split("Given value type:")[0].splitlines() if line.strip()]
    noise = ("Does not validate against any", "Subtypes:", "Errors:", "Expected a <class 'NoneType'>")
    kept = [line.strip().removeprefix("- ") for line in lines if not line.strip().removeprefix("- ").startswith(noise)]
    essence = _NO_LIST.sub(wanted, " ".join(kept))
    if essence.endswith("fit.data, fit.model"):
        essence += ": name a configuration, such as --config configs/distill.yaml"
    if unknown := _UNKNOWN_CLASS.search(essence):
        essence += did_you_mean(unknown[2], dir(sys.modules.get(unknown[1])))
    return essence
