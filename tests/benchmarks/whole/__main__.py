"""Run one arm's job in this process and print its laps as JSON: ``MODULE.FUNCTION FOLDER``."""

from __future__ import annotations

import json
import sys
from importlib import import_module
from pathlib import Path

import torch

from tests.benchmarks.peak import peak_memory

from .job import Job, Laps


def main(arm: str, folder: Path) -> None:
    """Run an arm on one thread."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    module, function = arm.split(".")
    run = getattr(import_module(f".{module}", __package__), function)
    laps = Laps()
    run(Job(folder, arm), laps)
    found = {"wall": laps.wall, "processor": laps.processor, "peak_memory": peak_memory()}
    sys.stdout.write("\n" + json.dumps(found) + "\n")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
