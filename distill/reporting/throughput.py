"""How much arithmetic training needs, how long it takes, and how fast the device could do it."""

from __future__ import annotations

import time
from dataclasses import astuple, dataclass, replace

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

#: Rows of the matrices whose product is timed, on a CPU and on anything else: enough to keep the device busy, little
#: enough to be done in a fraction of a second on a slow one.
CPU_PEAK_SIZE = 1024
PEAK_SIZE = 8192


@dataclass(frozen=True)
class ModelSize:
    """The sizes of a model that its arithmetic depends on.

    Attributes:
        encoder_weights: P, the entries of the encoder's weight matrices; embeddings are looked up and not multiplied.
        head_weights: P_head, those of the head, a vocabulary that it shares with the embeddings included.
        num_layers: L.
        hidden_size: D.
    """

    encoder_weights: int
    head_weights: int
    num_layers: int
    hidden_size: int

    @classmethod
    def of(cls, model: PreTrainedModel) -> ModelSize:
        """Return the sizes of a transformers encoder with its head."""
        encoder_weights = _matrix_entries(model.base_model)
        head_weights = _matrix_entries(model) - encoder_weights
        return cls(encoder_weights, head_weights, model.config.num_hidden_layers, model.config.hidden_size)

    def cut(self, depth: int) -> ModelSize:
        """Return the sizes of the first ``depth`` layers, all layers being alike, with the head."""
        return replace(self, encoder_weights=self.encoder_weights * depth // self.num_layers, num_layers=depth)

    def forward_flops(self, lengths: Tensor, head_tokens: Tensor | int) -> Tensor:
        """Return the multiplications and additions that a forward pass needs, () float64.

        ``2 (P sum(n) + P_head head_tokens) + 4 L D sum(n^2)`` over windows of n real tokens: two for each weight and
        token, and in each layer 2 n^2 D for the scores and as many for the weighted values. A backward pass needs twice
        as much, so training costs three times this: 6 P a token and 12 L D n^2 a window (Chowdhery et al. 2022, PaLM,
        https://arxiv.org/abs/2204.02311, appendix B).

        Args:
            lengths: (B,) real tokens of each window.
            head_tokens: At how many tokens the head is computed.
        """
        lengths = lengths.double()
        products = self.encoder_weights * lengths.sum() + self.head_weights * head_tokens
        return 2 * products + 4 * self.num_layers * self.hidden_size * lengths.square().sum()


@dataclass(frozen=True)
class StepTotals:
    """What training steps did and how long they took; totals add up.

    Attributes:
        num_batches: Batches.
        num_tokens: Real tokens.
        model_flops: Floating-point operations that the models needed.
        seconds: The time of the steps, added up over processes.
    """

    num_batches: float = 0.0
    num_tokens: float = 0.0
    model_flops: float = 0.0
    seconds: float = 0.0

    def __add__(self, other: StepTotals) -> StepTotals:
        """Return both together."""
        return StepTotals(*(mine + theirs for mine, theirs in zip(astuple(self), astuple(other), strict=True)))

    def scaled(self, factor: float) -> StepTotals:
        """Return so many times as much."""
        return StepTotals(*(factor * amount for amount in astuple(self)))

    def rates(self, num_processes: int, peak: float | None) -> dict[str, float]:
        """Return the rates of all processes together; none if no time went by, and no share without a peak.

        - ``tokens_per_second``
        - ``model_flops_per_second``
        - ``peak_share``: the latter over ``num_processes * peak``.

        Args:
            num_processes: How many processes, of one device each, the totals are of.
            peak: FLOP/s that one device can do at most.
        """
        if not self.seconds:
            return {}
        flops_per_second = num_processes * self.model_flops / self.seconds
        rates = {
            "tokens_per_second": num_processes * self.num_tokens / self.seconds,
            "model_flops_per_second": flops_per_second,
        }
        return rates if peak is None else {**rates, "peak_share": flops_per_second / (num_processes * peak)}


class StepClock:
    """Adds up the time between starts and stops; on a GPU its own time, without waiting for it at every step."""

    def __init__(self, device: torch.device) -> None:
        self._on_gpu = device.type == "cuda"
        self._seconds = 0.0
        self._started = 0.0
        self._events: list[tuple[torch.cuda.Event, torch.cuda.Event]] = []

    def start(self) -> None:
        """Begin a step."""
        if self._on_gpu:
            begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
            begin.record()
            self._events.append((begin, end))
        else:
            self._started = time.perf_counter()

    def stop(self) -> None:
        """End the step."""
        if self._on_gpu:
            self._events[-1][1].record()
        else:
            self._seconds += time.perf_counter() - self._started

    def take(self) -> float:
        """Return the seconds of all steps since the last call; waits for the GPU to finish them."""
        if self._events:
            self._events[-1][1].synchronize()
            self._seconds += sum(begin.elapsed_time(end) for begin, end in self._events) / 1000
            self._events.clear()
        seconds, self._seconds = self._seconds, 0.0
        return seconds


def peak_size(device: torch.device) -> int:
    """Return the rows of the matrices whose product shows what a device can do."""
    return CPU_PEAK_SIZE if device.type == "cpu" else PEAK_SIZE


def matrix_peak(
    device: torch.device, dtype: torch.dtype, size: int, seconds: float = 0.3, min_rounds: int = 3
) -> float:
    """Return the FLOP/s of the fastest product of two square matrices, ``2 size^3`` over its time.

    Args:
        device: Where to multiply.
        dtype: What the matrices hold.
        size: Their rows and columns.
        seconds: How long to go on trying.
        min_rounds: How many products to time at least.
    """
    # A generator of its own, so that the run's random numbers are the same with and without the measurement.
    generator = torch.Generator().manual_seed(0)
    left, right = (torch.randn(size, size, generator=generator).to(device, dtype) for _ in range(2))
    product = torch.empty_like(left)
    clock = StepClock(device)
    times: list[float] = []
    torch.mm(left, right, out=product)  # kernels are chosen at the first call
    while len(times) < min_rounds or sum(times) < seconds:
        clock.start()
        torch.mm(left, right, out=product)
        clock.stop()
        times.append(clock.take())
    return 2 * size**3 / min(times)


def matrix_dtype(precision: str, device: torch.device) -> torch.dtype:
    """Return what matrices are multiplied in under a precision of the Trainer's, such as ``bf16-mixed``."""
    if precision.startswith(("bf16", "transformer-engine")):
        return torch.bfloat16
    if precision.startswith("16"):
        # On a CPU, Lightning's mixed half precision is bfloat16.
        return torch.bfloat16 if precision == "16-mixed" and device.type == "cpu" else torch.float16
    return torch.float64 if precision.startswith("64") else torch.float32


def _matrix_entries(module: nn.Module) -> int:
    return sum(part.weight.numel() for part in module.modules() if isinstance(part, nn.Linear))
