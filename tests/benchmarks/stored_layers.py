"""A first stage without a teacher: mapped layers stored in 8 bits, against the running teacher, on the same steps.

What ``configs/distill.yaml`` compares in its first stage is stored once for every real token of an eighth of the
embedded training set: hidden states, and the queries and keys of mapped layers, from which attention scores are
computed as ever. Each is centred, turned to its k main components (``widths``; the full width is kept as it is) and
held in 8 bits with a float16 scale a token. Every arm trains the same student from the same first weights on the same
batches, then the usual second stage on stored logits:

    python -m tests.benchmarks.stored_layers --output stored_layers.json

Steps are timed apart, in turns on the same batches, by the processor's clock. Not part of the product.
"""

from __future__ import annotations

import copy
import json
import os
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import chdir
from itertools import count, islice
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

import distill
from distill.entry import run_function
from distill.files import write_json
from distill.quiet import quieten_libraries
from distill.reporting.environment import describe_environment
from distill.stages import StagePlan
from distill.teaching.teachers import TeachingRun
from distill.types import Batch

from .evaluation import timed_evaluation
from .layer_store import StoredLayers
from .loop import CONFIG, MAX_NORM, Built
from .training import spread

DATA = Path(distill.__file__).parent / "assets" / "qa_es"
LIVE = "running teacher"


def write_part(source: Path, target: Path, share: float) -> None:
    """Write a share of a question file's paragraphs, evenly from all of them."""
    document = json.loads(source.read_text(encoding="utf-8"))
    for article in document["data"]:
        number = max(1, round(share * len(article["paragraphs"])))
        places = (index * len(article["paragraphs"]) // number for index in range(number))
        article["paragraphs"] = [article["paragraphs"][place] for place in places]
    target.write_text(json.dumps(document), encoding="utf-8")


class Experiment:
    """The run of ``configs/distill.yaml`` by hand, with stages of so many steps.

    Args:
        seed: Of the first weights, of dropout and of the order of the batches.
        steps: Steps of the two stages.
        settings: Further options of the command.
    """

    def __init__(self, seed: int, steps: Sequence[int], settings: Sequence[str] = ()) -> None:
        lengths = [
            f"--schedule.stages.{stage}={{epochs: null, steps: {number}}}"
            for stage, number in zip(("intermediate", "logits"), steps, strict=True)
        ]
        command = Built(["fit", "--config", str(CONFIG), f"--seed_everything={seed}", *lengths, *settings])
        self.seed, self.module, data = seed, command.model, command.datamodule
        data.trainer = command.trainer  # which decides how far windows are padded
        data.setup("fit")
        self.module.configure_model()
        self.loader, self.evaluation = data.train_dataloader(), data.val_dataloader()
        stages = command.config_init.fit.schedule.stages
        self.plan = StagePlan(stages, len(self.loader))
        self.layers = self.module.objective.plans(stages["intermediate"].weights)[1]
        self.teachers = self.module._teachers
        self.windows: Any = self.loader.dataset
        self.run = TeachingRun(self.windows, Path(data.cache_dir), torch.device("cpu"), str(command.trainer.precision))
        self._start = copy.deepcopy(self.module.state_dict())

    def batches(self) -> Iterator[Batch]:
        """Return the batches of all epochs."""
        for epoch in count():
            self.loader.set_epoch(epoch)
            yield from self.loader

    def prepare(self, step: int) -> None:
        """Have the teacher ready, or its logits, for the stage of a step."""
        self.teachers.prepare(self.module.objective.plans(self.plan.stage_at(step).stage.weights)[1], self.run)

    def step(self, step: int, batch: Batch, optimizer: torch.optim.Optimizer) -> None:
        """Train on one batch."""
        active = self.plan.stage_at(step)
        parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        for group in optimizer.param_groups:
            group["lr"] = active.learning_rate
        shares = self.module.shares(batch, active.stage.weights, active.stage.temperature)
        optimizer.zero_grad()
        torch.stack([active.stage.weights[name] * share.loss for name, share in shares.items()]).sum().backward()
        torch.nn.utils.clip_grad_norm_(parameters, MAX_NORM)
        optimizer.step()

    def restart(self) -> torch.optim.Optimizer:
        """Bring the student back to its first weights; return a new optimizer."""
        self.module.load_state_dict(self._start)
        torch.manual_seed(self.seed)
        self.module.train()
        return self.module.configure_optimizers()

    def train(self, source: Any) -> float:
        """Train both stages, the first one from a source of layers, and return F1 on the dev set."""
        optimizer, first_logits = self.restart(), self.plan.lengths[0]
        self.prepare(0)
        for step, batch in enumerate(islice(self.batches(), self.plan.total_steps)):
            if step == first_logits:
                self.prepare(step)
            self.module._teachers = source if step < first_logits else self.teachers
            self.step(step, batch, optimizer)
        self.module.eval()
        result, _ = timed_evaluation(self.module.student, self.evaluation, self.module.task)
        return float(result.scores["f1"])

    def time_steps(self, sources: Mapping[str, Any], num_steps: int, warmup: int = 3) -> dict[str, list[float]]:
        """Return seconds of the processor of steps of the first stage, the sources in turns on each batch."""
        optimizer = self.restart()
        self.prepare(0)
        seconds: dict[str, list[float]] = {name: [] for name in sources}
        for index, batch in enumerate(islice(self.batches(), warmup + num_steps)):
            for name in list(sources)[:: 1 if index % 2 else -1]:
                self.module._teachers = sources[name]
                start = time.process_time()
                self.step(0, batch, optimizer)
                if index >= warmup:
                    seconds[name].append(time.process_time() - start)
        return seconds


def main(
    output: str = "stored_layers.json",
    widths: list[int] | None = None,
    seeds: list[int] | None = None,
    share: float = 0.125,
    layer_steps: int = 120,
    logit_steps: int = 240,
    timed_steps: int = 30,
    settings: list[str] | None = None,
) -> None:
    """Time and train every arm, print the table and write it as JSON.

    Args:
        output: JSON file to write.
        widths: Components that are kept; 32, 64 and the teacher's width when left out.
        seeds: Seeds of the students; 42, 43 and 44 when left out, none with an empty list.
        share: How much of the embedded training set to train on.
        layer_steps: Steps of the first stage.
        logit_steps: Steps of the second stage.
        timed_steps: Timed steps of each arm.
        settings: Further options of the command.
    """
    torch.set_num_threads(1)
    os.environ["WANDB_MODE"] = "offline"
    quieten_libraries()
    target, console = Path(output).absolute(), Console()
    result: dict[str, Any] = {"environment": describe_environment("cpu", "float32"), "arms": {}}
    with tempfile.TemporaryDirectory() as folder, chdir(folder):
        write_part(DATA / "train.json", Path(folder, "train.json"), share)
        files = {"train_files": [f"{folder}/train.json"], "validation_files": [str(DATA / "dev.json")]}
        options = [f"--data.{name}={json.dumps(value)}" for name, value in files.items()]
        options += [f"--data.cache_dir={folder}/cache", *(settings or [])]
        experiment = Experiment(42, (layer_steps, logit_steps), options)
        model = experiment.teachers._models[0]
        full = model.model.config.hidden_size
        plan, windows = experiment.layers, experiment.windows
        sources: dict[str, Any] = {LIVE: experiment.teachers}
        for width in widths or [32, 64, full]:
            start = time.process_time()
            stored = StoredLayers(model, windows, plan, width, Path(folder))
            sources[f"{width} components"] = stored
            figures = {"window_bytes": stored.window_bytes, "error": stored.error}
            result["arms"][f"{width} components"] = {**figures, "building_seconds": time.process_time() - start}
        parts = len(plan.hidden_states) + 2 * len(plan.attentions)
        result["arms"][LIVE] = {"window_bytes": None, "error": 0.0, "building_seconds": 0.0}
        result["float32_window_bytes"] = 4 * parts * full * float(windows.lengths.mean())
        result |= {"windows": len(windows), "tokens": int(windows.lengths.sum())}
        seconds = experiment.time_steps(sources, timed_steps)
        for name, taken in seconds.items():
            ratios = [a / b for a, b in zip(taken, seconds[LIVE], strict=True)]
            result["arms"][name] |= {"seconds": spread(taken), "ratio": spread(ratios), "f1": {}}
        write_json(target, result)
        for seed in [42, 43, 44] if seeds is None else seeds:
            experiment = Experiment(seed, (layer_steps, logit_steps), options)
            for name, source in {**sources, LIVE: experiment.teachers}.items():
                result["arms"][name]["f1"][str(seed)] = experiment.train(source)
                write_json(target, result)
                console.print(f"seed {seed}, {name}: F1 {result['arms'][name]['f1'][str(seed)]:.2f}")
    console.print(table(result))


def table(result: Mapping[str, Any]) -> Table:
    """Return the arms as a table."""
    shown = Table(title=f"First stage from stored layers, {result['windows']:,} windows, {result['tokens']:,} tokens")
    for column in ("layers", "bytes a window", "error", "step, ms", "ratio", "F1"):
        shown.add_column(column, justify="left" if column == "layers" else "right")
    form = "{median:.3f} ({lower_quartile:.3f} to {upper_quartile:.3f})"
    for name, arm in result["arms"].items():
        stored = f"{arm['window_bytes']:,.0f}" if arm["window_bytes"] else ""
        scores = " ".join(f"{score:.2f}" for score in arm["f1"].values())
        milliseconds = f"{1e3 * arm['seconds']['median']:,.1f}"
        shown.add_row(name, stored, f"{arm['error']:.2%}", milliseconds, form.format(**arm["ratio"]), scores)
    return shown


if __name__ == "__main__":
    run_function(main)
