"""A function as a command of its own: ``python -m distill.models.tokenizer``."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from jsonargparse import auto_cli

from distill.types import UserError


def run_function(function: Callable[..., Any], args: list[str] | None = None) -> None:
    """Call a function with the options of the command line, named as its parameters.

    A wrong option ends with exit code 2; a mistake in the data, or a file that cannot be written, with one line and
    exit code 1.

    Args:
        function: Its docstring is the help text.
        args: The options; those of the running command when left out.
    """
    try:
        auto_cli(function, args=args, as_positional=False)
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
