"""Where a run took place: versions, device and command, so that its figures can be read later."""

from __future__ import annotations

import platform
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

#: An absolute path inside an argument, also within a list or a mapping.
_ABSOLUTE_PATH = re.compile(r"(?<![^=\s\[{,'\":])/[^\s,\]}'\"]+")

_PACKAGES = ("torch", "lightning", "transformers", "datasets", "torchmetrics", "distill")


def describe_environment(device: torch.device | str, dtype: str | None = None) -> dict[str, Any]:
    """Return versions, device, dtype, threads, commit and command as plain data.

    Args:
        device: What the run computed on.
        dtype: What figures of speed and size were taken in, where there are any.
    """
    return {
        "python": platform.python_version(),
        **{name: package_version(name) for name in _PACKAGES},
        "platform": f"{platform.system()} {platform.machine()}",
        "device": device_name(device),
        "cpu": cpu_name(),
        "num_threads": torch.get_num_threads(),
        "dtype": dtype,
        "commit": git_commit(Path(__file__).parent),
        "command": command_line(sys.argv),
    }


def package_version(name: str) -> str | None:
    """Return the version of an installed distribution, nothing when it is not installed."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def device_name(device: torch.device | str) -> str:
    """Return ``cpu``, or the kind of device with the name of its model where there is one."""
    device = torch.device(device)
    return f"{device.type} ({torch.cuda.get_device_name(device)})" if device.type == "cuda" else device.type


def cpu_name() -> str:
    """Return the processor's model name, or its architecture where the system does not tell."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def git_commit(folder: Path) -> str | None:
    """Return the commit of the checkout that ``folder`` is a tracked part of, with ``-dirty`` when it was changed.

    Nothing without git, and nothing for an installed package that merely lies inside someone else's checkout.
    """
    if _git(folder, "ls-files", ".") in (None, ""):
        return None
    return _git(folder, "describe", "--always", "--dirty", "--abbrev=40", "--exclude", "*")


def command_line(argv: Sequence[str]) -> str:
    """Return a command line that tells nothing about the machine.

    The program keeps its name alone; an absolute path becomes relative to the working folder, or its last part when
    it lies elsewhere.

    Example:
        >>> command_line(["/usr/lib/env/bin/distill", "fit", "--data.train_files=/home/ana/qa.json"])
        'distill fit --data.train_files=qa.json'
    """
    if not argv:
        return ""
    return shlex.join([Path(argv[0]).name, *(hide_folders(argument) for argument in argv[1:])])


def hide_folders(text: str) -> str:
    """Return a text whose absolute paths are relative to the working folder, or their last part when elsewhere."""
    here = Path.cwd()

    def shorten(match: re.Match[str]) -> str:
        path = Path(match[0])
        return str(path.relative_to(here)) if path.is_relative_to(here) else path.name

    return _ABSOLUTE_PATH.sub(shorten, text)


def _git(folder: Path, *arguments: str) -> str | None:
    git = shutil.which("git")
    if git is None:
        return None
    try:
        run = subprocess.run(
            [git, "-C", str(folder), *arguments], capture_output=True, text=True, timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return run.stdout.strip() if run.returncode == 0 else None
