"""Settings of the process, each in a process of its own."""

import platform
import subprocess
import sys

import pytest
import torch

from distill.processor import fast_precision, length_multiple, prefer_fused, teacher_dtype

PAGE_FAULTS = """
import resource
import torch
from distill.processor import prepare_processor

def page_faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(4):
        torch.ones(10_000_000)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

torch.set_num_threads(1)
before = [page_faults() for _ in range(3)]
prepare_processor()
after = [page_faults() for _ in range(6)]  # the first ones fetch what is kept from then on
print(min(before), after[-1])
"""

DENORMALS = """
import torch
from distill.processor import prepare_processor

prepare_processor()
print((torch.tensor([1e-40]) * 1).item())
"""


def run(script: str) -> list[str]:
    return subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    ).stdout.split()  # fmt: skip


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs glibc")
def test_memory_is_not_fetched_from_the_system_again_and_again():
    before, after = map(int, run(PAGE_FAULTS))
    assert before > 10_000  # four times 40 MB in pages of 4 kB
    assert after < 1000


def test_denormal_numbers_count_as_nothing():
    assert run(DENORMALS) == ["0.0"]


@pytest.mark.parametrize(
    ("capabilities", "precision"),
    [
        ({"avx2": True, "avx512_bf16": False, "amx_bf16": False}, "32-true"),
        ({"avx2": True, "avx512_bf16": True, "amx_bf16": False}, "bf16-mixed"),
        ({"avx2": True, "avx512_bf16": False, "amx_bf16": True}, "bf16-mixed"),
        ({}, "32-true"),
    ],
)
def test_precision_is_low_only_where_the_processor_has_units_for_it(capabilities, precision, monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    assert fast_precision("cpu") == precision


@pytest.mark.parametrize(("units", "precision"), [(True, "bf16-mixed"), (False, "32-true")])
def test_a_gpu_that_emulates_bfloat16_trains_in_float32(units, precision, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: units or including_emulation)
    assert fast_precision("cuda") == precision


def test_other_devices_train_in_float32():
    assert fast_precision("mps") == "32-true"


@pytest.mark.parametrize(
    ("device_type", "is_float32", "multiple"), [("cpu", True, 8), ("cpu", False, 32), ("cuda", True, 32)]
)
def test_windows_are_padded_finely_where_a_new_length_costs_nothing(device_type, is_float32, multiple):
    assert length_multiple(device_type, is_float32) == multiple


@pytest.mark.parametrize("precision", ["32-true", "16-mixed", "16-true", "64-true", "bf16-mixed", "bf16-true"])
def test_teachers_are_held_in_bfloat16_where_it_is_what_they_compute_in(precision):
    assert teacher_dtype(precision) == ("bfloat16" if precision.startswith("bf16") else "float32")


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_finest_padding_and_teachers_in_float32_go_together(precision):
    is_float32 = teacher_dtype(precision) == "float32"
    assert (length_multiple("cpu", is_float32=precision == "32-true") == 8) == is_float32


def adam(kind=torch.optim.AdamW, **settings) -> torch.optim.Optimizer:
    torch.manual_seed(0)
    weights = [torch.nn.Parameter(torch.randn(7, 5)), torch.nn.Parameter(torch.randn(5))]
    groups = [{"params": weights[:1]}, {"params": weights[1:], "weight_decay": 0.0}]
    return prefer_fused(kind(groups, lr=0.1, **settings))


@pytest.mark.parametrize(
    ("kind", "settings", "fused"),
    [
        (torch.optim.AdamW, {}, True),
        (torch.optim.Adam, {}, True),
        (torch.optim.AdamW, {"fused": False}, False),
        (torch.optim.AdamW, {"foreach": True}, None),
        (torch.optim.SGD, {}, None),
    ],
)
def test_adam_is_fused_unless_something_else_was_said(kind, settings, fused):
    assert {group["fused"] for group in adam(kind, **settings).param_groups} == {fused}


def test_fused_steps_are_those_of_the_plain_optimizer():
    weights = []
    for settings in ({}, {"fused": False}):
        optimizer = adam(**settings)
        own = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        for step in range(5):
            for parameter in own:
                parameter.grad = torch.sin(parameter.detach() + step)
            optimizer.step()
        weights.append(torch.cat([parameter.detach().flatten() for parameter in own]))
    torch.testing.assert_close(weights[0], weights[1], rtol=1e-5, atol=1e-6)
