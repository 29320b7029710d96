"""How fast models are, side by side, so that a busy machine slows all of them alike."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from distill.reporting.memory import peak_memory

Inputs = Mapping[str, Tensor]


@dataclass(frozen=True)
class Latency:
    """Timings of one model at one batch size and length.

    Attributes:
        p50_ms: Median of a call, in milliseconds.
        p95_ms: 95th percentile of a call, in milliseconds, interpolated linearly.
        windows_per_second: Windows of all calls over the time of all calls.
        peak_memory_bytes: The most that one call allocates beyond what was allocated before it; see
            :func:`~distill.reporting.memory.peak_memory`.
    """

    p50_ms: float
    p95_ms: float
    windows_per_second: float
    peak_memory_bytes: int | None = None


@dataclass(frozen=True)
class TimedCalls:
    """The calls of one model, one for each round, in their order.

    Attributes:
        times_ns: Duration of each call, in nanoseconds.
        num_windows: Windows of all calls together.
        peak_memory_bytes: See :class:`Latency`.
    """

    times_ns: tuple[int, ...]
    num_windows: int
    peak_memory_bytes: int | None = None

    @property
    def latency(self) -> Latency:
        """The calls in figures."""
        return summarise(self.times_ns, self.num_windows, self.peak_memory_bytes)


@dataclass(frozen=True)
class RelativeTime:
    """How many times as long as another model's calls one model's take, round by round: quartiles of the ratios."""

    low: float
    median: float
    high: float


def relative_time(calls: TimedCalls, reference: TimedCalls) -> RelativeTime:
    """Return the quartiles of the calls' time over the reference's, each round of both against itself.

    Both calls of a round meet the machine in the same state, so that the ratios spread less than the times.

    Raises:
        ValueError: If the rounds of the two are not the same.
    """
    # A clock may be too coarse to see a call at all.
    pairs = zip(calls.times_ns, reference.times_ns, strict=True)
    ratios = torch.tensor([max(mine, 1) / max(other, 1) for mine, other in pairs], dtype=torch.float64)
    low, middle, high = ratios.quantile(torch.tensor([0.25, 0.5, 0.75], dtype=torch.float64)).tolist()
    return RelativeTime(low, middle, high)


def measure_latency(
    models: Mapping[str, nn.Module],
    make_inputs: Callable[[], Inputs],
    rounds: int,
    warmup: int,
    device: torch.device,
    clock: Callable[[], int] = time.perf_counter_ns,
) -> dict[str, Latency]:
    """Time the models as :func:`time_calls` does, and return the timings by model name."""
    calls = time_calls(models, make_inputs, rounds, warmup, device, clock)
    return {name: timed.latency for name, timed in calls.items()}


def time_calls(
    models: Mapping[str, nn.Module],
    make_inputs: Callable[[], Inputs],
    rounds: int,
    warmup: int,
    device: torch.device,
    clock: Callable[[], int] = time.perf_counter_ns,
    with_memory: bool = True,
) -> dict[str, TimedCalls]:
    """Time one forward call of each model, ``rounds`` times, call by call in turns.

    Every round makes one input and gives it to all models, in an order that reverses from round to round. Only the
    call is timed, after the device has finished all earlier work and until it has finished the call. Training modes,
    the random number generators and gradients are left as they were found.

    Args:
        models: Name to model, all on ``device``.
        make_inputs: Makes a batch of inputs on ``device``, batch first; not timed.
        rounds: Timed calls of each model.
        warmup: Calls of each model beforehand, not timed.
        device: Where the models are.
        clock: Nanoseconds of a clock that never goes back.
        with_memory: Whether one more call of each model, not timed either, finds its peak memory.

    Returns:
        The calls by model name.
    """
    times_ns: dict[str, list[int]] = {name: [] for name in models}
    num_windows = 0
    with torch.inference_mode(), torch.autocast(device.type, enabled=False), _undisturbed(models.values(), device):
        for _ in range(warmup):
            inputs = make_inputs()
            for model in models.values():
                model(**inputs)
        peaks = {name: peak_memory(model, make_inputs(), device) for name, model in models.items() if with_memory}
        for round_index in range(rounds):
            inputs = make_inputs()
            num_windows += len(next(iter(inputs.values())))
            for name in list(models) if round_index % 2 == 0 else reversed(list(models)):
                times_ns[name].append(_time_call(models[name], inputs, device, clock))
    return {name: TimedCalls(tuple(times_ns[name]), num_windows, peaks.get(name)) for name in models}


def summarise(times_ns: Sequence[int], num_windows: int, peak_memory_bytes: int | None = None) -> Latency:
    """Return percentiles and throughput of calls that took ``times_ns`` and saw ``num_windows`` windows together.

    Raises:
        ValueError: If there is no call.
    """
    if not times_ns:
        raise ValueError("no call was timed")
    milliseconds = torch.tensor(times_ns, dtype=torch.float64) / 1e6
    p50, p95 = milliseconds.quantile(torch.tensor([0.5, 0.95], dtype=torch.float64)).tolist()
    # A clock may be too coarse to see a call at all.
    seconds = max(sum(times_ns), 1) / 1e9
    return Latency(p50, p95, num_windows / seconds, peak_memory_bytes)


@contextmanager
def in_dtype(model: nn.Module, dtype: torch.dtype) -> Iterator[nn.Module]:
    """Give the model with all its floating-point tensors in ``dtype``: itself where they are, else a copy.

    A copy, because casting there and back would round the weights.
    """
    tensors = [*model.parameters(), *model.buffers()]
    if all(tensor.dtype == dtype for tensor in tensors if tensor.is_floating_point()):
        yield model
    else:
        yield copy.deepcopy(model).to(dtype)


@contextmanager
def num_threads(count: int | None) -> Iterator[int]:
    """Run the block with ``count`` threads in each operation (as they are when left out); give the count in force."""
    before = torch.get_num_threads()
    if count is not None:
        torch.set_num_threads(count)
    try:
        yield torch.get_num_threads()
    finally:
        torch.set_num_threads(before)


def random_inputs(
    vocab_size: int, batch_size: int, length: int, device: torch.device, pad_token_id: int | None = None, seed: int = 0
) -> Callable[[], Inputs]:
    """Return a maker of full windows of random tokens: ``input_ids`` and ``attention_mask``, each (B, S).

    It draws from a generator of its own and never draws the padding token, from which some models count positions.
    """
    generator = torch.Generator().manual_seed(seed)

    def make() -> Inputs:
        if pad_token_id is None:
            ids = torch.randint(vocab_size, (batch_size, length), generator=generator)
        else:
            ids = torch.randint(vocab_size - 1, (batch_size, length), generator=generator)
            ids = ids + (ids >= pad_token_id)
        return {"input_ids": ids.to(device), "attention_mask": torch.ones_like(ids).to(device)}

    return make


def _time_call(model: nn.Module, inputs: Inputs, device: torch.device, clock: Callable[[], int]) -> int:
    _synchronize(device)
    start = clock()
    model(**inputs)
    _synchronize(device)
    return clock() - start


def _synchronize(device: torch.device) -> None:
    if device.type != "cpu":
        torch.accelerator.synchronize(device)


@contextmanager
def _undisturbed(models: Iterable[nn.Module], device: torch.device) -> Iterator[None]:
    """Put the models in eval mode for the block; restore every submodule's mode and the random number generators."""
    modes = [(module, module.training) for model in models for module in model.modules()]
    with ExitStack() as stack:
        stack.enter_context(torch.random.fork_rng([device] if device.type == "cuda" else []))
        try:
            for module, _ in modes:
                module.training = False
            yield
        finally:
            for module, training in modes:
                module.training = training
