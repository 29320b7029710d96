"""Timing arithmetic with a counting clock, and that measuring leaves no trace."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from distill.reporting.latency import (
    TimedCalls,
    in_dtype,
    measure_latency,
    num_threads,
    random_inputs,
    relative_time,
    summarise,
    time_calls,
)

CPU = torch.device("cpu")


class Clock:
    """A clock that only moves when a model is called."""

    def __init__(self) -> None:
        self.now = 0

    def __call__(self) -> int:
        return self.now


class Timed(nn.Module):
    """Takes a fixed time on a clock, writes its name down, draws a random number."""

    def __init__(self, name, clock, calls, milliseconds=1.0):
        super().__init__()
        self.name, self.clock, self.calls, self.milliseconds = name, clock, calls, milliseconds
        self.layer = nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.5))

    def forward(self, **inputs):
        self.calls.append((self.name, self.training, torch.is_grad_enabled(), torch.is_autocast_enabled("cpu")))
        torch.rand(1)
        self.clock.now += int(self.milliseconds * 1e6)
        return inputs


def inputs():
    return {"input_ids": torch.zeros(4, 8, dtype=torch.long)}


def test_calls_are_interleaved_and_the_order_reverses():
    clock, calls = Clock(), []
    models = {name: Timed(name, clock, calls) for name in ("student", "teacher")}
    measure_latency(models, inputs, rounds=3, warmup=1, device=CPU, clock=clock)
    names = [name for name, *_ in calls]
    warmup, memory = ["student", "teacher"], ["student", "teacher"]
    assert names == [*warmup, *memory, "student", "teacher", "teacher", "student", "student", "teacher"]


def test_only_timed_calls_count_towards_the_figures():
    clock, calls = Clock(), []
    models = {"student": Timed("student", clock, calls, 2.0), "teacher": Timed("teacher", clock, calls, 10.0)}

    def slow_inputs():
        clock.now += 10**9
        return inputs()

    timings = measure_latency(models, slow_inputs, rounds=4, warmup=2, device=CPU, clock=clock)
    assert timings["student"].p50_ms == pytest.approx(2.0)
    assert timings["teacher"].p95_ms == pytest.approx(10.0)
    assert timings["student"].windows_per_second == pytest.approx(4 / 2e-3)


def test_calls_keep_the_order_of_the_rounds():
    clock, calls = Clock(), []
    models = {"student": Timed("student", clock, calls, 2.0), "teacher": Timed("teacher", clock, calls, 10.0)}
    timed = time_calls(models, inputs, rounds=3, warmup=0, device=CPU, clock=clock)
    assert timed["student"].times_ns == (2_000_000,) * 3
    assert timed["teacher"].num_windows == 12
    assert timed["teacher"].latency.p50_ms == pytest.approx(10.0)


def test_memory_is_left_out_on_demand():
    clock, calls = Clock(), []
    timed = time_calls({"m": Timed("m", clock, calls)}, inputs, 2, 1, CPU, clock, with_memory=False)
    assert len(calls) == 3
    assert timed["m"].peak_memory_bytes is None


def test_relative_time_compares_round_by_round():
    # The machine slows down a hundredfold; the ratios are 1.5, 1.0, 2.0, 1.25 and 3.0 all the same.
    reference = TimedCalls((2, 40, 100, 400, 200), 5)
    found = relative_time(TimedCalls((3, 40, 200, 500, 600), 5), reference)
    assert (found.low, found.median, found.high) == pytest.approx((1.25, 1.5, 2.0))
    same = relative_time(reference, reference)
    assert (same.low, same.median, same.high) == (1.0, 1.0, 1.0)


def test_relative_time_refuses_other_rounds():
    with pytest.raises(ValueError, match="longer"):
        relative_time(TimedCalls((1,), 1), TimedCalls((1, 2), 2))


def test_summary_interpolates_percentiles():
    latency = summarise([ms * 1_000_000 for ms in (1, 2, 3, 4)], num_windows=8)
    assert latency.p50_ms == pytest.approx(2.5)
    assert latency.p95_ms == pytest.approx(3.85)
    assert latency.windows_per_second == pytest.approx(800)


def test_summary_of_nothing_is_refused():
    with pytest.raises(ValueError, match="no call"):
        summarise([], 0)


def test_a_clock_too_coarse_does_not_divide_by_zero():
    assert summarise([0, 0], num_windows=2).p50_ms == 0


def test_models_run_in_eval_without_gradients_or_autocast():
    clock, calls = Clock(), []
    with torch.autocast("cpu", dtype=torch.bfloat16):
        measure_latency({"m": Timed("m", clock, calls).train()}, inputs, 1, 1, CPU, clock)
    assert {call[1:] for call in calls} == {(False, False, False)}


def test_modes_gradients_and_random_state_are_left_as_found():
    clock = Clock()
    model = Timed("m", clock, []).train()
    model.layer[1].eval()
    model.layer[0].weight.grad = torch.ones(2, 2)
    state = torch.get_rng_state()
    measure_latency({"m": model}, random_inputs(10, 1, 4, CPU), 2, 1, CPU, clock)
    assert (model.training, model.layer[0].training, model.layer[1].training) == (True, True, False)
    assert torch.equal(model.layer[0].weight.grad, torch.ones(2, 2))
    assert torch.equal(torch.get_rng_state(), state)


def test_modes_are_restored_after_an_error():
    class Broken(nn.Module):
        def forward(self, **inputs):
            raise RuntimeError("boom")

    model = Broken().train()
    with pytest.raises(RuntimeError, match="boom"):
        measure_latency({"m": model}, inputs, 1, 0, CPU)
    assert model.training


def test_in_dtype_gives_the_model_itself_where_it_fits():
    model = nn.Linear(2, 2)
    with in_dtype(model, torch.float32) as same:
        assert same is model


def test_in_dtype_copies_instead_of_rounding():
    model = nn.Linear(2, 2)
    before = model.weight.detach().clone()
    with in_dtype(model, torch.bfloat16) as cast:
        assert cast.weight.dtype == torch.bfloat16
    assert model.weight.dtype == torch.float32
    assert torch.equal(model.weight, before)


def test_threads_are_restored():
    before = torch.get_num_threads()
    with num_threads(before + 1) as inside:
        assert inside == torch.get_num_threads() == before + 1
    assert torch.get_num_threads() == before


@pytest.mark.parametrize("pad", [0, 2, 4])
def test_random_inputs_use_every_token_but_padding(pad):
    batch = random_inputs(5, 8, 64, CPU, pad_token_id=pad)()
    assert batch["input_ids"].shape == batch["attention_mask"].shape == (8, 64)
    assert set(batch["input_ids"].unique().tolist()) == set(range(5)) - {pad}


def test_random_inputs_differ_from_call_to_call_and_repeat_by_seed():
    make, again = random_inputs(50, 1, 16, CPU), random_inputs(50, 1, 16, CPU)
    first = make()["input_ids"]
    assert torch.equal(first, again()["input_ids"])
    assert not torch.equal(first, make()["input_ids"])


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_cuda_peak_memory_and_random_state():
    device = torch.device("cuda", 0)
    model = nn.Embedding(100, 1024).to(device)
    model.forward = lambda input_ids, attention_mask: nn.functional.dropout(model.weight[input_ids], 0.5)
    state = torch.cuda.get_rng_state(device)
    timing = measure_latency({"m": model}, random_inputs(100, 8, 64, device), 2, 1, device)["m"]
    assert timing.peak_memory_bytes >= 8 * 64 * 1024 * 4
    assert torch.equal(torch.cuda.get_rng_state(device), state)
