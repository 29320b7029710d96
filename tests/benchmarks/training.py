"""What a training step costs here, in bare loops and in other tools, on the same batches.

Float32, one thread, a teacher of 12 layers and 256 wide, a student of 4 and 128, 8 heads, 4 windows of 384 tokens
without padding, the same first weights, terms, optimizer and settings of the processor. Every arm is a process of its
own; the arms take turns, round by round, so that a busy machine slows all of them alike, and ratios are taken within
rounds:

    pip install -e ".[benchmark]" -c requirements.lock
    python -m tests.benchmarks.training --output training.json

The extra brings textbrewer 0.2.1.post1 and nvidia-modelopt 0.47.0, but not torchdistill 1.1.5: it brings torchvision,
whose build on the package index is for CUDA and breaks the import of transformers beside torch for CPUs. It goes into
an environment of its own, that of ``--peers``, which then has to have all of the tools:

    python -m venv peers
    peers/bin/pip install torch==2.13.0 transformers==5.23.0
    peers/bin/pip install textbrewer==0.2.1.post1 nvidia-modelopt==0.47.0 torchdistill==1.1.5 requests
    python -m tests.benchmarks.training --peers peers/bin/python --output training.json

With torch for CPUs the file ``torchvision/_meta_registrations.py`` in there has to be emptied as well: torchvision's
own operators are then of no use, and none of the tools needs them. A tool that cannot be imported is named and left
out.

A step is everything from the end of one optimizer step to the end of the next. The processor's time is the one to go by
on a machine that does other work beside.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from distill.entry import run_function
from distill.files import write_json
from distill.reporting.environment import describe_environment
from distill.types import UserError

CLOCKS = ("processor", "wall")

#: Title to arms; the first one is what the others are compared with.
COMPARISONS = {
    "Layers and logits, teacher in the loop": {
        "bare SDPA loop, no attention term": "bare.layers",
        "distill": "own.layers",
        "distill, attention probabilities": "own.layers_probabilities",
        "TextBrewer": "peers.textbrewer_layers",
        "torchdistill": "peers.torchdistill_layers",
        "modelopt": "peers.modelopt_layers",
    },
    "Logits, from a cache where there is one": {
        "bare loop on labels alone": "bare.answers",
        "distill, cached, with labels": "own.answers",
        "TextBrewer, cached": "peers.textbrewer_answers",
        "torchdistill, no cache": "peers.torchdistill_answers",
        "modelopt, no cache": "peers.modelopt_answers",
    },
}


class CannotRunError(Exception):
    """An arm broke; the message is the last line that it left."""


def run_arm(arm: str, python: str, warmup: int, steps: int) -> dict[str, Any]:
    """Return the seconds of each step of an arm by clock, and its peak memory in bytes, from a process of its own.

    Raises:
        CannotRunError: If it does not get through.
    """
    command = [python, "-m", "tests.benchmarks.steps", arm, str(warmup), str(steps)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2])
    if done.returncode:
        raise CannotRunError((done.stderr.strip() or f"exit code {done.returncode}").splitlines()[-1])
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def run_rounds(
    arms: Sequence[str], peers: str, rounds: int, warmup: int, steps: int
) -> tuple[dict[str, list[dict[str, Any]]], dict[str, str]]:
    """Run the arms in turns; return what each gave in every round, and why others were left out."""
    found: dict[str, list[dict[str, Any]]] = {arm: [] for arm in arms}
    left_out: dict[str, str] = {}
    for index in range(rounds):
        for arm in list(arms) if index % 2 == 0 else reversed(list(arms)):
            if arm in left_out:
                continue
            try:
                python = peers if arm.startswith("peers.") else sys.executable
                found[arm].append(run_arm(arm, python, warmup, steps))
            except CannotRunError as error:
                left_out[arm] = str(error)
    return {arm: results for arm, results in found.items() if arm not in left_out}, left_out


def spread(values: Sequence[float]) -> dict[str, float]:
    """Return the median with the quartiles.

    Raises:
        UserError: If there are no values.
    """
    if not values:
        raise UserError("nothing was timed: rounds, passes and steps must be at least 1")
    quantiles = torch.tensor(values, dtype=torch.float64).quantile(torch.tensor([0.25, 0.5, 0.75], dtype=torch.float64))
    return dict(zip(("lower_quartile", "median", "upper_quartile"), quantiles.tolist(), strict=True))


def summarise(found: Mapping[str, Sequence[Mapping[str, Any]]], reference: str) -> dict[str, dict[str, Any]]:
    """Return of each arm the milliseconds of a step, their ratio to the reference's round by round, and peak memory."""
    summary: dict[str, dict[str, Any]] = {}
    for arm, results in found.items():
        summary[arm] = {"peak_mb": median(result["peak_memory"] for result in results) / 1e6}
        for clock in CLOCKS:
            own, other = ([median(result[clock]) for result in found[name]] for name in (arm, reference))
            summary[arm][f"{clock}_ms"] = spread([1e3 * seconds for seconds in own])
            summary[arm][f"{clock}_ratio"] = spread([a / b for a, b in zip(own, other, strict=True)])
    return summary


def result_table(
    title: str, labels: Mapping[str, str], summary: Mapping[str, Any], left_out: Mapping[str, str]
) -> Table:
    """Return a comparison as a table."""
    table = Table(title=title, caption="Median (lower to upper quartile) over rounds in turns")
    for column in ("step", "processor, ms", "ratio", "wall ratio", "peak memory, MB"):
        table.add_column(column, justify="left" if column == "step" else "right")
    for label, arm in labels.items():
        if arm in left_out:
            table.add_row(label, f"left out: {left_out[arm]}")
            continue
        row = summary[arm]
        ratio = "{median:.2f} ({lower_quartile:.2f} to {upper_quartile:.2f})"
        table.add_row(
            label,
            "{median:,.0f}".format(**row["processor_ms"]),
            ratio.format(**row["processor_ratio"]),
            ratio.format(**row["wall_ratio"]),
            f"{row['peak_mb']:,.0f}",
        )
    return table


def main(
    output: str = "training.json",
    peers: str = sys.executable,
    rounds: int = 7,
    warmup: int = 2,
    steps: int = 5,
) -> None:
    """Time every arm, print a table for each comparison and write all of it as JSON.

    Args:
        output: JSON file to write.
        peers: Interpreter that has the other tools.
        rounds: Processes of each arm.
        warmup: Steps of each process beforehand.
        steps: Timed steps of each process.
    """
    arms = [arm for labels in COMPARISONS.values() for arm in labels.values()]
    found, left_out = run_rounds(arms, peers, rounds, warmup, steps)
    result: dict[str, Any] = {"left_out": left_out, "environment": describe_environment("cpu"), "rounds": found}
    for title, labels in COMPARISONS.items():
        reference, *_ = labels.values()
        if reference in left_out:
            Console().print(f"{title}: nothing to compare with, {reference} broke: {left_out[reference]}")
            continue
        summary = summarise({arm: found[arm] for arm in labels.values() if arm in found}, reference)
        result[title] = summary
        Console().print(result_table(title, labels, summary, left_out))
    write_json(Path(output), result)


if __name__ == "__main__":
    run_function(main)
