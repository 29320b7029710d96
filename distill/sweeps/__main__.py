"""Run a sweep on this machine: ``python -m distill.sweeps SWEEP.yaml --num_trials 8 --output FOLDER``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from rich.console import Console

from distill.sweeps.page import trials_table
from distill.sweeps.runner import run_sweep
from distill.sweeps.spec import read_sweep
from distill.types import UserError


def main(args: list[str] | None = None) -> int:
    """Run the sweep and print its trials; the same command goes on with a sweep that was interrupted."""
    parser = argparse.ArgumentParser(prog="python -m distill.sweeps", description=main.__doc__)
    parser.add_argument("sweep", type=Path, help="a sweep in W&B's format")
    parser.add_argument("--num_trials", type=int, required=True, help="trials in all, earlier ones included")
    parser.add_argument("--output", type=Path, required=True, help="folder for trials, table and picture")
    parser.add_argument("--seed", type=int, default=0, help="decides the settings")
    chosen = parser.parse_args(args)
    if chosen.num_trials < 1:
        parser.error(f"--num_trials must be at least 1, not {chosen.num_trials}")
    try:
        result = run_sweep(read_sweep(chosen.sweep), chosen.output, chosen.num_trials, chosen.seed)
    except UserError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("interrupted; the same command goes on\n")
        return 130
    Console().print(trials_table(result))
    sys.stdout.write(f"wrote {chosen.output / 'sweep.html'}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
