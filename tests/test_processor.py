"""Settings of the process, each in a process of its own."""

import platform
import subprocess
import sys

import pytest

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
