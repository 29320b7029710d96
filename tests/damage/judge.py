"""What became of a damaged input."""

from __future__ import annotations

import contextlib
import io
import signal
import traceback
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from distill.cli import main

ERROR = "error"
SKIP = "reported skip"
WHOLE = "read whole"


@contextlib.contextmanager
def at_most(seconds: int) -> Iterator[None]:
    """Break off what hangs."""

    def give_up(*_: object) -> None:
        raise TimeoutError(f"not done after {seconds} s")

    previous = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, previous)


class Judge:
    """Collects outcomes, and what is wrong with the wrong ones."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.failures: list[str] = []

    def add(self, name: str, outcome: str) -> None:
        if outcome in (ERROR, SKIP, WHOLE):
            self.counts[outcome] += 1
        else:
            self.failures.append(f"{name}: {outcome}")

    def __str__(self) -> str:
        return (
            f"{self.counts.total() + len(self.failures)} damaged inputs: {self.counts[ERROR]} errors, "
            f"{self.counts[SKIP]} reported skips, {self.counts[WHOLE]} read whole, {len(self.failures)} failures"
        )


def check_message(message: str, *named: str) -> str:
    """Return ``error`` if a message is one clear line that names what it must, else what it lacks."""
    if "\n" in message or not message.strip():
        return f"not one line: {message!r}"
    if len(message) > 1000:
        return f"too long, {len(message)} characters: {message[:200]!r}"
    missing = [word for word in named if word not in message]
    return f"does not name {missing}: {message!r}" if missing else ERROR


def run(arguments: list[str], *named: str, codes: tuple[int, ...] = (1, 2), seconds: int = 120) -> str:
    """Run a command in this process; return ``error`` if it ends as a mistake should, else what is wrong."""
    here = Path.cwd()
    before = set(here.rglob("*"))
    stderr = io.StringIO()
    try:
        with contextlib.redirect_stderr(stderr), contextlib.redirect_stdout(io.StringIO()), at_most(seconds):
            main(arguments)
    except SystemExit as ended:
        if ended.code not in codes:
            return f"exit code {ended.code}"
    except BaseException:  # noqa: BLE001 - whatever comes through is what a user would see
        return f"traceback: {traceback.format_exc().strip().splitlines()[-1]}"
    else:
        return WHOLE
    written = stderr.getvalue()
    if "Traceback" in written:
        return f"traceback in {written[-500:]!r}"
    if left := [str(path.relative_to(here)) for path in set(here.rglob("*")) - before if path.is_file()]:
        return f"left behind: {sorted(left)}"
    lines = written.strip().splitlines()
    start = next((i for i, line in enumerate(lines) if line.startswith("error: ")), None)
    if start is None:
        return f"no error line: {written[-300:]!r}"
    return check_message("\n".join(lines[start:]), *named)
