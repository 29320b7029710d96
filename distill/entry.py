"""A function as a command of its own: ``python -m distill.models.tokenizer``."""

from __future__ import annotations

import sys
from collections.abc import Callable
from inspect import getdoc
from typing import Any

from jsonargparse import auto_cli

from distill.parser import BriefParser
from distill.types import UserError


def call_function(function: Callable[..., Any], args: list[str] | None = None, name: str | None = None) -> Any:
    """Return what a function gives for the options of the command line, named as its parameters.

    Args:
        function: Its docstring is the help text.
        args: The options; those of the running command when left out.
        name: What messages call the command; as it was called when left out.
    """
    description = (getdoc(function) or "").split("\n\nArgs:")[0]
    return auto_cli(
        function, args=args, as_positional=False, parser_class=BriefParser, prog=name, description=description
    )


def run_function(function: Callable[..., Any], args: list[str] | None = None) -> None:
    """Call a function with the options of the command line, named as its parameters.

    A wrong option ends with exit code 2; a mistake in the data, or a file that cannot be written, with one line and
    exit code 1.

    Args:
        function: Its docstring is the help text.
        args: The options; those of the running command when left out.
    """
    try:
        call_function(function, args)
    except UserError as error:
        message = str(error)
    except OSError as error:
        if error.filename is None:
            raise
        message = f"{error.filename}: {error.strerror}"
    else:
        return
    sys.stderr.write(f"error: {message}\n")
    sys.exit(1)
