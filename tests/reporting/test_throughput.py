"""What training costs and how fast a device is, by hand."""

from __future__ import annotations

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import BertConfig, BertForQuestionAnswering, RobertaConfig, RobertaForMaskedLM

from distill.reporting.throughput import (
    CPU_PEAK_SIZE,
    PEAK_SIZE,
    ModelSize,
    StepClock,
    StepTotals,
    matrix_dtype,
    matrix_peak,
    peak_size,
)

CPU = torch.device("cpu")
CONFIG = RobertaConfig(
    vocab_size=60, hidden_size=16, num_hidden_layers=3, num_attention_heads=2, intermediate_size=32,
    max_position_embeddings=40, type_vocab_size=1,
)  # fmt: skip


def test_matrices_of_encoder_and_head_are_counted_and_embeddings_are_not():
    size = ModelSize.of(RobertaForMaskedLM(CONFIG))
    attention, feed_forward = 4 * 16 * 16, 2 * 16 * 32
    assert size == ModelSize(3 * (attention + feed_forward), 16 * 16 + 16 * 60, num_layers=3, hidden_size=16)


def test_forward_flops_by_hand():
    size = ModelSize(encoder_weights=1000, head_weights=100, num_layers=2, hidden_size=8)
    lengths = torch.tensor([5, 3])
    assert size.forward_flops(lengths, 4).item() == 2 * (1000 * 8 + 100 * 4) + 4 * 2 * 8 * (25 + 9)
    assert size.forward_flops(lengths[:0], 0).item() == 0
    assert size.cut(1).forward_flops(lengths, 4).item() == 2 * (500 * 8 + 100 * 4) + 4 * 1 * 8 * (25 + 9)
    assert size.cut(0).forward_flops(lengths, 0).item() == 0


@pytest.mark.parametrize("length", [8, 32])
def test_forward_flops_equal_those_of_the_kernels_where_nothing_is_padded(length):
    """An independent count: what PyTorch's dispatcher saw, in eager attention so that every product is one."""
    config = BertConfig(
        vocab_size=60, hidden_size=16, num_hidden_layers=3, num_attention_heads=2, intermediate_size=32,
        attn_implementation="eager",
    )  # fmt: skip
    model = BertForQuestionAnswering(config)
    ids = torch.zeros(2, length, dtype=torch.int64)
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        model(input_ids=ids)
    mine = ModelSize.of(model).forward_flops(torch.tensor([length, length]), 2 * length)
    assert mine.item() == counter.get_total_flops()


def test_no_overflow_over_the_steps_of_a_large_model():
    size = ModelSize(10**12, 0, 100, 10**4)
    assert size.forward_flops(torch.full((1024,), 4096), 0).item() > 2e12 * 1024 * 4096


def test_rates_are_of_all_processes_together():
    totals = StepTotals(num_batches=4, num_tokens=800, model_flops=6e9, seconds=4.0)  # two processes, two seconds each
    assert totals.rates(num_processes=2, peak=3e9) == pytest.approx(
        {"tokens_per_second": 400, "model_flops_per_second": 3e9, "peak_share": 0.5}
    )
    assert "peak_share" not in totals.rates(num_processes=2, peak=None)
    assert StepTotals().rates(1, 1e9) == {}


def test_totals_add_up_and_scale():
    one = StepTotals(1, 10, 100.0, 2.0)
    assert one + one == one.scaled(2) == StepTotals(2, 20, 200.0, 4.0)


def test_clock_adds_up_steps_and_leaves_out_what_lies_between(monkeypatch):
    times = iter([1.0, 3.0, 10.0, 11.5, 20.0, 20.25])
    monkeypatch.setattr("distill.reporting.throughput.time.perf_counter", lambda: next(times))
    clock = StepClock(CPU)
    for _ in range(2):
        clock.start()
        clock.stop()
    assert clock.take() == 3.5
    assert clock.take() == 0.0
    clock.start()
    clock.stop()
    assert clock.take() == 0.25


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_clock_of_a_gpu_waits_for_its_work():
    device = torch.device("cuda")
    matrix = torch.randn(4096, 4096, device=device)
    clock = StepClock(device)
    clock.start()
    for _ in range(20):
        matrix = matrix @ matrix
    clock.stop()
    assert clock.take() > 20 * 2 * 4096**3 / 1e15  # no device multiplies faster than that


def test_peak_is_the_fastest_product(monkeypatch):
    times = iter([0.5, 0.2, 0.4])
    monkeypatch.setattr(StepClock, "take", lambda _: next(times))
    assert matrix_peak(CPU, torch.float32, size=10, seconds=0.0) == pytest.approx(2 * 10**3 / 0.2)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_peak_is_positive_and_leaves_the_runs_random_numbers_alone(dtype):
    state = torch.get_rng_state()
    assert matrix_peak(CPU, dtype, size=16, seconds=0.0) > 0
    assert torch.equal(torch.get_rng_state(), state)


def test_size_of_the_matrices_follows_the_device():
    assert peak_size(CPU) == CPU_PEAK_SIZE
    assert peak_size(torch.device("cuda:1")) == PEAK_SIZE


@pytest.mark.parametrize(
    ("precision", "device", "dtype"),
    [
        ("32-true", "cpu", torch.float32),
        ("bf16-mixed", "cpu", torch.bfloat16),
        ("bf16-true", "cuda", torch.bfloat16),
        ("16-mixed", "cuda", torch.float16),
        ("16-mixed", "cpu", torch.bfloat16),
        ("16-true", "cuda", torch.float16),
        ("64-true", "cpu", torch.float64),
        ("transformer-engine", "cuda", torch.bfloat16),
    ],
)
def test_matrices_are_in_the_precision_of_the_run(precision, device, dtype):
    assert matrix_dtype(precision, torch.device(device)) is dtype
