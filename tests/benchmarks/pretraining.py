"""What the training loop costs: pretraining under Lightning against a bare PyTorch loop over the same module.

Both run in every precision that is fast here, bfloat16 where there are units for it and float32, on the same batches
of the embedded text, one step each in turns, so that a busy machine slows all of them alike; the processor's time,
which leaves out what others used, stands beside the wall's. A step is everything from one batch to the next, loading
and logging included:

    python -m tests.benchmarks.pretraining --output pretraining.json

The losses of both loops are compared as well, since only equal work may be timed.
"""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import count
from pathlib import Path
from typing import Any

import lightning as L
import torch
from rich.console import Console
from rich.table import Table

from distill.callbacks.stages import StageSchedule
from distill.cli import CALLBACKS
from distill.csv_log import CsvRun
from distill.data.text import TextDataModule
from distill.entry import run_function
from distill.files import write_json
from distill.models.loading import EMBEDDED
from distill.modules.single import MaskedLanguageModule
from distill.processor import fast_precision, prepare_processor
from distill.reporting.environment import describe_environment
from distill.reporting.latency import num_threads
from distill.stages import Stage, StagePlan

HALF, FULL = PRECISIONS = ("bf16-mixed", "32-true")
LOOPS = ("lightning", "bare")
#: The wall's seconds, and those that the processor spent on this process.
CLOCKS = {"wall": time.perf_counter, "processor": time.process_time}
#: The callbacks of every run that do something in a step; the others come before the first one or after the last one,
#: and ``stop`` waits for signals, which only a main thread receives.
STEP_CALLBACKS = ("random_state", "guard", "last_checkpoint", "best_checkpoint", "throughput", "status")
MAX_NORM = 1.0
SEED = 0


@dataclass
class Sizes:
    """The sizes of a RoBERTa."""

    num_layers: int = 6
    hidden_size: int = 320
    num_heads: int = 5
    intermediate_size: int = 1280


class Arm:
    """One way of training, step by step: ``step`` does everything from one batch to the next."""

    losses: list[float]

    def step(self) -> None:
        """Do one step."""
        raise NotImplementedError

    def finish(self) -> None:
        """Let go of everything."""


class BareArm(Arm):
    """The loop that one would write by hand."""

    def __init__(self, module: MaskedLanguageModule, data: TextDataModule, stage: Stage, precision: str) -> None:
        self.losses = []
        self._steps = self._run(module, data, stage, precision == HALF)

    def step(self) -> None:
        """Do one step."""
        next(self._steps)

    def _run(self, module: Any, data: TextDataModule, stage: Stage, low_precision: bool) -> Iterator[None]:
        module.configure_model()
        optimizer = module.configure_optimizers()
        parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        loader = data.train_dataloader()
        plan = StagePlan({"masking": stage}, len(loader))
        step = 0
        for epoch in count():
            loader.sampler.set_epoch(epoch)  # type: ignore[attr-defined]
            for batch in loader:
                for group in optimizer.param_groups:
                    group["lr"] = plan.stage_at(step).learning_rate
                with torch.autocast("cpu", torch.bfloat16, enabled=low_precision):
                    means = module.compute_means(batch, stage.weights, stage.temperature)
                    loss = torch.stack([stage.weights[name] * mean.value for name, mean in means.items()]).sum()
                optimizer.zero_grad()
                loss.backward()
                torch.nn.utils.clip_grad_norm_(parameters, MAX_NORM)
                optimizer.step()
                self.losses.append(loss.item())
                step += 1
                yield


class LightningArm(Arm, L.Callback):
    """A fit as the command line does it, on a thread that goes on only when a step is asked for."""

    def __init__(
        self, module: MaskedLanguageModule, data: TextDataModule, stage: Stage, precision: str, folder: Path
    ) -> None:
        self.losses = []
        self._error: BaseException | None = None
        self._may_go = threading.Semaphore(0)
        self._has_stopped = threading.Semaphore(0)
        self._thread = threading.Thread(target=self._fit, args=(module, data, stage, precision, folder), daemon=True)
        self._thread.start()
        self._wait()

    def step(self) -> None:
        """Do one step."""
        self._may_go.release()
        self._wait()

    def finish(self) -> None:
        """Let the fit end by itself, after the step that it is in."""
        self._may_go.release()
        self._thread.join()

    def on_train_batch_start(self, trainer: L.Trainer, pl_module: Any, batch: Any, batch_idx: int) -> None:
        """Stop until the next step is asked for."""
        self._has_stopped.release()
        self._may_go.acquire()

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Keep the loss."""
        self.losses.append(outputs["loss"].item())

    def _wait(self) -> None:
        self._has_stopped.acquire()
        if self._error is not None:
            raise self._error

    def _fit(
        self, module: MaskedLanguageModule, data: TextDataModule, stage: Stage, precision: str, folder: Path
    ) -> None:
        prepare_processor()  # as on the other thread
        try:
            trainer = L.Trainer(
                accelerator="cpu",
                precision=precision,
                max_epochs=-1,
                limit_val_batches=0,
                gradient_clip_val=MAX_NORM,
                log_every_n_steps=20,
                logger=CsvRun(folder, name=precision),
                enable_progress_bar=False,
                enable_model_summary=False,
                use_distributed_sampler=False,
                callbacks=[
                    StageSchedule({"masking": stage}),
                    *(make() for name, make in CALLBACKS.items() if name in STEP_CALLBACKS),
                    self,
                ],
            )
            trainer.fit(module, data)
        except BaseException as error:  # noqa: BLE001 - raised again where it is waited for
            self._error = error
        self._has_stopped.release()


def build_arms(sizes: Sizes, stage: Stage, batch_size: int, folder: Path, precisions: Sequence[str]) -> dict[str, Arm]:
    """Return every loop in each precision, each with a module of its own and the same first weights."""
    data_settings = {"tokenizer": EMBEDDED, "batch_size": batch_size, "seed": SEED, "cache_dir": str(folder / "cache")}
    architecture = {
        "model_type": "roberta", "num_hidden_layers": sizes.num_layers, "hidden_size": sizes.hidden_size,
        "num_attention_heads": sizes.num_heads, "intermediate_size": sizes.intermediate_size,
        "max_position_embeddings": 514, "type_vocab_size": 1, "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
    }  # fmt: skip
    arms: dict[str, Arm] = {}
    for precision in precisions:
        for loop in LOOPS:
            module = MaskedLanguageModule(architecture=architecture, tokenizer=EMBEDDED)
            torch.manual_seed(SEED)
            module.configure_model()
            data = TextDataModule(**data_settings)  # type: ignore[arg-type]
            data.setup("fit")
            name = f"{loop} {precision}"
            if loop == "bare":
                arms[name] = BareArm(module, data, stage, precision)
            else:
                arms[name] = LightningArm(module, data, stage, precision, folder)
    return arms


def time_in_turns(arms: Mapping[str, Arm], warmup: int, rounds: int) -> dict[str, dict[str, list[float]]]:
    """Return the seconds of every timed step, by clock and arm; the order of the arms reverses from round to round."""
    seconds: dict[str, dict[str, list[float]]] = {clock: {name: [] for name in arms} for clock in CLOCKS}
    for index in range(warmup + rounds):
        for name in list(arms) if index % 2 == 0 else reversed(list(arms)):
            starts = {clock: read() for clock, read in CLOCKS.items()}
            arms[name].step()
            if index >= warmup:
                for clock, read in CLOCKS.items():
                    seconds[clock][name].append(read() - starts[clock])
    return seconds


def spread(values: Sequence[float]) -> dict[str, float]:
    """Return the median with the quartiles."""
    quantiles = torch.tensor(values, dtype=torch.float64).quantile(torch.tensor([0.25, 0.5, 0.75], dtype=torch.float64))
    return dict(zip(("lower_quartile", "median", "upper_quartile"), quantiles.tolist(), strict=True))


def summarise(seconds: Mapping[str, Sequence[float]], tokens_per_step: int) -> dict[str, Any]:
    """Return tokens per second of every arm, and the ratios that the loop and the precision make, round by round.

    ``loop_cost`` is Lightning's seconds over the bare loop's, in each precision; ``precision_gain`` is float32's
    seconds over bfloat16's, under Lightning, where both were timed.
    """
    precisions = [precision for precision in PRECISIONS if f"bare {precision}" in seconds]

    def ratio(numerator: str, denominator: str) -> dict[str, float]:
        return spread([a / b for a, b in zip(seconds[numerator], seconds[denominator], strict=True)])

    summary = {
        "tokens_per_second": {
            name: spread([tokens_per_step / value for value in values]) for name, values in seconds.items()
        },
        "loop_cost": {precision: ratio(f"lightning {precision}", f"bare {precision}") for precision in precisions},
    }
    if set(precisions) == set(PRECISIONS):
        summary["precision_gain"] = ratio(f"lightning {FULL}", f"lightning {HALF}")
    return summary


def result_table(result: Mapping[str, Any]) -> Table:
    """Return the summary as a table."""
    table = Table(title="Pretraining", caption="Median (lower to upper quartile) over rounds in turns")
    table.add_column("")
    table.add_column("value", justify="right")

    def add(label: str, value: Mapping[str, float], form: str) -> None:
        middle, low, high = (form.format(value[key]) for key in ("median", "lower_quartile", "upper_quartile"))
        table.add_row(label, f"{middle} ({low} to {high})")

    for name, value in result["wall"]["tokens_per_second"].items():
        add(f"tokens/s, {name}", value, "{:,.0f}")
    for clock in CLOCKS:
        table.add_section()
        for precision, value in result[clock]["loop_cost"].items():
            add(f"{clock} time, Lightning over bare, {precision}", value, "{:.3f}")
        if "precision_gain" in result[clock]:
            add(f"{clock} time, float32 over bfloat16", result[clock]["precision_gain"], "{:.2f}")
    return table


def main(
    output: str = "pretraining.json",
    sizes: Sizes = Sizes(),  # noqa: B008 - read only
    batch_size: int = 32,
    rounds: int = 30,
    warmup: int = 3,
    threads: int = 1,
    precisions: list[str] | None = None,
) -> None:
    """Time both loops in each precision, print the table and write it as JSON.

    Args:
        output: JSON file to write.
        sizes: The model's sizes.
        batch_size: Blocks of 128 tokens in a batch.
        rounds: Timed steps of each.
        warmup: Steps of each beforehand.
        threads: CPU threads of each operation.
        precisions: ``bf16-mixed``, ``32-true`` or both; when left out both where bfloat16 is fast, else float32 alone.
    """
    prepare_processor()
    precisions = precisions or sorted({fast_precision("cpu"), FULL})
    # One step more than is asked for: Lightning is stopped at the beginning of the next one.
    stage = Stage({"labels": 1.0}, steps=warmup + rounds + 1, learning_rate=1e-3)
    with tempfile.TemporaryDirectory() as folder, num_threads(threads):
        arms = build_arms(sizes, stage, batch_size, Path(folder), precisions)
        seconds = time_in_turns(arms, warmup, rounds)
        for arm in arms.values():
            arm.finish()
    result = {
        **{clock: summarise(times, tokens_per_step=128 * batch_size) for clock, times in seconds.items()},
        "largest_difference_of_losses": {
            precision: max(
                abs(a - b)
                for a, b in zip(arms[f"lightning {precision}"].losses, arms[f"bare {precision}"].losses, strict=False)
            )
            for precision in precisions
        },
        "sizes": asdict(sizes),
        "batch_size": batch_size,
        "rounds": rounds,
        "environment": describe_environment("cpu"),
        "seconds": seconds,
    }
    write_json(Path(output), result)
    Console().print(result_table(result))


if __name__ == "__main__":
    run_function(main)
