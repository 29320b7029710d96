"""Run one arm in this process and print its times and peak memory as JSON: ``MODULE.FUNCTION WARMUP STEPS``."""

from __future__ import annotations

import json
import sys
from contextlib import suppress
from importlib import import_module

import torch

from distill.processor import prepare_processor
from tests.benchmarks.peak import peak_memory

from .workload import Finished, Stopwatch


def main(arm: str, warmup: int, steps: int) -> None:
    """Run an arm for so many steps, on one thread."""
    torch.set_num_threads(1)
    module, function = arm.split(".")
    run = getattr(import_module(f".{module}", __package__), function)
    prepare_processor()  # for every arm alike: what the process owes to the processor is no merit of an engine
    imported = peak_memory()
    stopwatch = Stopwatch(warmup, steps)
    with suppress(Finished):
        run(stopwatch)
    memory = {"peak_memory": peak_memory(), "imported_memory": imported}
    sys.stdout.write(json.dumps({"wall": stopwatch.wall, "processor": stopwatch.processor, **memory}) + "\n")


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:4]))
