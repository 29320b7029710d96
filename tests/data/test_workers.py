"""Workers of a loader: signals to a whole group of processes are the run's to answer."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from distill.data.base import TaskDataModule
from distill.data.sampling import EvaluationSampler
from distill.data.workers import leave_signals_to_the_run

ROOT = Path(__file__).parents[2]

#: Reads batches in workers until three signals have come and some more after them; then tells its workers to end.
PROGRAM = """
import os, signal, sys
from torch.utils.data import DataLoader, Dataset
from distill.data.workers import leave_signals_to_the_run

class Numbers(Dataset):
    def __len__(self):
        return 1000000

    def __getitem__(self, place):
        return os.getpid()

def note(number, frame):
    assert os.getpid() == main, "a worker heeds a signal"
    received.add(number)

main, received = os.getpid(), set()
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
    signal.signal(number, note)
batches = iter(DataLoader(Numbers(), None, num_workers=2, worker_init_fn=leave_signals_to_the_run))
workers = {next(batches) for _ in range(8)}
print(*workers, flush=True)
while len(received) < 3:
    next(batches)
for _ in range(100):
    assert next(batches) in workers
print("went on", flush=True)
for worker in workers:
    os.kill(worker, signal.SIGTERM)
os._exit(3)
"""


class Data(TaskDataModule):
    check = summary = identities = _load = _passes = lambda *_: None


@pytest.fixture
def process(tmp_path):
    script = tmp_path / "program.py"
    script.write_text(PROGRAM, encoding="utf-8")
    process = subprocess.Popen(
        [sys.executable, script],
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    yield process
    process.kill()
    process.communicate()


def test_workers_outlive_signals_to_the_group_but_not_their_own_run(process):
    assert len(process.stdout.readline().split()) == 2
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
        os.killpg(process.pid, number)
    # The workers hold the pipe too: it closes when the last of them has ended.
    assert (*process.communicate(timeout=60), process.returncode) == ("went on\n", "", 3)


def test_workers_end_when_the_run_is_killed(process):
    assert len(process.stdout.readline().split()) == 2
    process.kill()
    process.communicate(timeout=60)


def test_loaders_of_every_data_module_have_such_workers():
    loader = Data("none", 1, 1, 0, 2, "cache")._loader([1], EvaluationSampler([np.array([0])]))
    assert loader.worker_init_fn is leave_signals_to_the_run


@pytest.mark.parametrize(("device", "pins"), [("cuda", True), ("cpu", False), (None, False)])
def test_loaders_pin_memory_where_the_run_is_on_a_gpu(device, pins):
    data = Data("none", 1, 1, 0, 0, "cache")
    if device is not None:
        data.trainer = SimpleNamespace(strategy=SimpleNamespace(root_device=torch.device(device)))
    assert data._loader([1], EvaluationSampler([np.array([0])])).pin_memory is pins
