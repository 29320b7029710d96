"""The latency benchmark: teacher against student at the end of a run."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict
from typing import Any, Literal

import lightning as L
import torch
from lightning.pytorch.utilities import rank_zero_info

from distill.files import write_json
from distill.loggers import log_summary
from distill.models.loading import max_positions
from distill.reporting.environment import cpu_name, device_name
from distill.reporting.files import run_folder
from distill.reporting.latency import Latency, in_dtype, measure_latency, num_threads, random_inputs
from distill.reporting.size import num_parameters, size_bytes
from distill.types import UserError

#: Lengths that are timed beside the longest window of the data.
SHORT_LENGTHS = (64, 128)


class LatencyBenchmark(L.Callback):
    """Times the student against the teacher over a grid of batch sizes and lengths.

    Both models get the same full windows of random tokens, call by call in turns, on the device, in the dtype and with
    the threads of the benchmark, whatever the run trained in. It runs when training ends (``on_train_end``, while the
    models are still on their device), on the first process alone while the others wait, keeps :attr:`result`, writes
    ``latency.json`` into the run's folder and logs ``latency/<model>/p50_ms/b<batch>_s<length>`` and the like. It
    changes nothing of the module and saves nothing in checkpoints. List it before ``Report``, which shows the first
    batch size at the largest length.

    Args:
        batch_sizes: Windows in a call; the first one is the report's.
        lengths: Tokens of a window; the largest one is the report's. When left out, 64, 128 and the longest window of
            the data.
        rounds: Timed calls of each model at each point.
        warmup: Calls of each model beforehand.
        dtype: What weights and activations are in; no autocast.
        num_threads: CPU threads of each operation during the benchmark; as they are when left out.
        every_n_epochs: Also run, and log, after every so many epochs.

    Raises:
        UserError: If a number is out of range, or, before training starts, a length is more than a model can take.
    """

    def __init__(
        self,
        batch_sizes: Sequence[int] = (1, 8),
        lengths: Sequence[int] | None = None,
        rounds: int = 30,
        warmup: int = 5,
        dtype: Literal["float32", "bfloat16"] = "float32",
        num_threads: int | None = None,
        every_n_epochs: int | None = None,
    ) -> None:
        for name, values in (("batch_sizes", batch_sizes), ("lengths", lengths)):
            if values is not None and (not values or min(values) < 1):
                raise UserError(f"LatencyBenchmark: {name} needs at least one number of 1 or more, not {list(values)}")
        for name, value, least in (
            ("rounds", rounds, 1),
            ("warmup", warmup, 0),
            ("num_threads", num_threads, 1),
            ("every_n_epochs", every_n_epochs, 1),
        ):
            if value is not None and value < least:
                raise UserError(f"LatencyBenchmark: {name} must be at least {least}, not {value}")
        if dtype not in ("float32", "bfloat16"):
            raise UserError(f"LatencyBenchmark: dtype must be float32 or bfloat16, not {dtype}")
        self.batch_sizes = tuple(dict.fromkeys(batch_sizes))
        self.lengths = tuple(dict.fromkeys(lengths or ()))
        self.rounds = rounds
        self.warmup = warmup
        self.dtype = dtype
        self.num_threads = num_threads
        self.every_n_epochs = every_n_epochs
        #: The latest result as plain data, on the first process; see :meth:`run`. Of a run of several tasks, name to
        #: result under ``tasks``.
        self.result: dict[str, Any] | None = None

    @property
    def reference_point(self) -> tuple[int, int]:
        """The batch size and length that the report shows."""
        return self.batch_sizes[0], max(self.lengths)

    def on_fit_start(self, trainer: L.Trainer, pl_module: Any) -> None:
        """Settle the lengths and check that both models can take them."""
        if not self.lengths:
            longest: int = trainer.datamodule.max_length  # type: ignore[attr-defined]
            self.lengths = (*(length for length in SHORT_LENGTHS if length < longest), longest)
        models = (item for member in pl_module.members.values() for item in _models(member).items())
        for name, model in models:
            limit = max_positions(model.config)
            if limit is not None and max(self.lengths) > limit:
                raise UserError(
                    f"LatencyBenchmark: length {max(self.lengths)} is more than the {limit} tokens that the {name} "
                    f"takes; set lengths to at most {limit}"
                )

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Run in between, where that was asked for."""
        if self.every_n_epochs and (trainer.current_epoch + 1) % self.every_n_epochs == 0:
            self._run_on_first_process(trainer, pl_module)
            if self.result is not None:
                for logger in trainer.loggers:
                    logger.log_metrics(flatten_result(self.result), trainer.global_step)

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Run, write ``latency.json`` and log the figures."""
        folder = run_folder(trainer)
        self._run_on_first_process(trainer, pl_module)
        if self.result is None:
            return
        log_summary(trainer.loggers, flatten_result(self.result), trainer.global_step)
        if folder is not None:
            write_json(folder / "latency.json", self.result)

    def result_of(self, task: str | None) -> dict[str, Any] | None:
        """Return the latest result of a task, of the only one under no name."""
        return self.result["tasks"][task] if self.result is not None and task is not None else self.result

    def run(self, module: L.LightningModule) -> dict[str, Any]:
        """Measure a module's student and, where it has one, its teacher, on the module's device.

        Returns:
            Plain data: ``environment`` (device, cpu, dtype, num_threads), ``rounds``, ``warmup``, ``reference`` (the
            report's batch size and length), ``models`` (parameters and bytes of each) and ``rows``, one for each model
            at each point: model, batch_size, length, p50_ms, p95_ms, windows_per_second, peak_memory_bytes.
        """
        dtype = getattr(torch, self.dtype)
        rows: list[dict[str, Any]] = []
        with ExitStack() as stack:
            threads = stack.enter_context(num_threads(self.num_threads))
            models: dict[str, Any] = {
                name: stack.enter_context(in_dtype(model.to(module.device), dtype))
                for name, model in _models(module).items()
            }
            for batch_size in self.batch_sizes:
                for length in self.lengths:
                    make_inputs = random_inputs(
                        min(model.config.vocab_size for model in models.values()),
                        batch_size,
                        length,
                        module.device,
                        module.student.config.pad_token_id,
                    )
                    timings = measure_latency(models, make_inputs, self.rounds, self.warmup, module.device)
                    point = {"batch_size": batch_size, "length": length}
                    rows += [{"model": name, **point, **asdict(timing)} for name, timing in timings.items()]
            sizes = {
                name: {"num_parameters": num_parameters(model), "size_bytes": size_bytes(model)}
                for name, model in models.items()
            }
        batch_size, length = self.reference_point
        return {
            "environment": {
                "device": device_name(module.device),
                "cpu": cpu_name(),
                "dtype": self.dtype,
                "num_threads": threads,
            },
            "rounds": self.rounds,
            "warmup": self.warmup,
            "reference": {"batch_size": batch_size, "length": length},
            "models": sizes,
            "rows": rows,
        }

    def _run_on_first_process(self, trainer: L.Trainer, module: Any) -> None:
        trainer.strategy.barrier("latency: before")
        if trainer.is_global_zero:
            rank_zero_info("measuring latency: %d points", len(self.batch_sizes) * len(self.lengths))
            results = {name: self.run(member) for name, member in module.members.items()}
            self.result = results.get(None, {"tasks": results})
        trainer.strategy.barrier("latency: after")


def flatten_result(result: dict[str, Any]) -> dict[str, float]:
    """Return a benchmark's rows as ``latency/<model>/<figure>/b<batch>_s<length>``, for loggers.

    Those of a run of several tasks begin with the task's name.
    """
    if "tasks" in result:
        parts = {task: flatten_result(part) for task, part in result["tasks"].items()}
        return {f"{task}/{name}": value for task, part in parts.items() for name, value in part.items()}
    return {
        f"latency/{row['model']}/{name}/b{row['batch_size']}_s{row['length']}": float(row[name])
        for row in result["rows"]
        for name in ("p50_ms", "p95_ms", "windows_per_second", "peak_memory_bytes")
        if row[name] is not None
    }


def reference_latency(result: dict[str, Any], model: str) -> Latency:
    """Return one model's timings at the benchmark's reference point."""
    point = result["reference"]
    names = Latency.__dataclass_fields__
    return next(
        Latency(**{name: row[name] for name in names})
        for row in result["rows"]
        if row["model"] == model and all(row[name] == value for name, value in point.items())
    )


def _models(module: Any) -> dict[str, Any]:
    models = {"student": module.student, "teacher": module.teacher}
    return {name: model for name, model in models.items() if model is not None}
