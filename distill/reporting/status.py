"""How a run stands or how it ended, in its folder, where a later process looks it up."""

from __future__ import annotations

import errno
import fcntl
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any, Literal

from distill.files import write_json

#: The file in the run's folder.
STATUS_FILE = "status.json"

#: The report of a run; of one that has not finished it says how it ended and no more.
REPORT_FILE = "report.json"

#: Held by the process that writes into the folder.
_LOCK_FILE = ".lock"


@dataclass(frozen=True)
class RunStatus:
    """How a run stands.

    Attributes:
        state: ``running`` also where a process was killed and could not say so.
        ended: In words: ``finished``, ``stopped by SIGTERM at step 120``, or what failed.
        step: Optimizer steps done when this was written.
        wandb_id: The run in W&B, which a resumed run goes on with.
        resumed_at: The steps at which the run was resumed, in order.
    """

    state: Literal["running", "finished", "stopped", "failed"]
    ended: str | None = None
    step: int = 0
    wandb_id: str | None = None
    resumed_at: tuple[int, ...] = ()


def write_status(folder: Path, status: RunStatus) -> None:
    """Write ``status.json`` of a run."""
    write_json(folder / STATUS_FILE, asdict(status))


def read_status(folder: Path) -> RunStatus | None:
    """Return how a run stands; None where nothing readable says so."""
    try:
        values = json.loads((folder / STATUS_FILE).read_text(encoding="utf-8"))
        return RunStatus(**{**values, "resumed_at": tuple(values["resumed_at"])})
    except (OSError, ValueError, TypeError, KeyError):
        return None


def write_end(folder: Path, status: RunStatus, stage: str | None) -> None:
    """Write how a run ended before it was done in place of its report: state, reason, step and stage.

    The report of what finished stays.
    """
    if read_report(folder).get("status") != "finished":
        end = {"status": status.state, "ended": status.ended, "step": status.step, "stage": stage}
        write_json(folder / REPORT_FILE, end)


def clear_end(folder: Path) -> None:
    """Remove what :func:`write_end` left, since the run goes on."""
    if read_report(folder).get("status") in ("stopped", "failed"):
        (folder / REPORT_FILE).unlink()


def read_report(folder: Path) -> dict[str, Any]:
    """Return a run's report; empty where there is none that can be read."""
    try:
        report = json.loads((folder / REPORT_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return report if isinstance(report, dict) else {}


def lock_run(folder: Path) -> IO[bytes] | None:
    """Return an open file that marks the run as this process's until it ends, however; None if another one's.

    A record lock: the kernel gives it up with the process, and worker processes do not inherit it. A file system
    without locks marks nothing, and every run counts as free.

    Raises:
        OSError: If the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    file = (folder / _LOCK_FILE).open("ab")
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EAGAIN):
            file.close()
            return None
    return file


def unlock_run(folder: Path, lock: IO[bytes]) -> None:
    """Give a folder back that :func:`lock_run` took, and remove it where there is nothing in it."""
    if {path.name for path in folder.iterdir()} == {_LOCK_FILE}:
        (folder / _LOCK_FILE).unlink()
        folder.rmdir()
    lock.close()
