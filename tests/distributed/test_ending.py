"""How processes end: one that failed leaves the first word to the first one."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from distill.distributed import ending
from distill.distributed.ending import is_lost_connection, let_first_process_end
from distill.distributed.strategy import StagedDDP
from distill.types import UserError

ROOT = Path(__file__).parents[2]

#: Starts itself as Lightning does, and ends a second after the second process has failed.
PROGRAM = """
import os, subprocess, sys, time
from distill.distributed.ending import let_first_process_end

if "LOCAL_RANK" in os.environ:
    print("failed", flush=True)
    let_first_process_end(300.0)
    sys.exit(1)
second = subprocess.Popen([sys.executable, __file__], env={**os.environ, "LOCAL_RANK": "1"}, stdout=subprocess.PIPE)
second.stdout.readline()
time.sleep(1)
print(second.poll())
"""


@pytest.fixture
def waits(monkeypatch):
    """Count the waits of a process that Lightning seems to have started."""
    waits = []
    monkeypatch.setattr(ending, "launched_layout", lambda: None)
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setattr(time, "sleep", waits.append)
    return waits


def test_failed_process_outlives_the_first_one_and_no_more(tmp_path):
    script = tmp_path / "program.py"
    script.write_text(PROGRAM, encoding="utf-8")
    names = ("LOCAL_RANK", "TORCHELASTIC_RUN_ID", "SLURM_NTASKS")
    environment = {name: value for name, value in os.environ.items() if name not in names}
    done = subprocess.run(
        [sys.executable, script],
        env={**environment, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,  # less than the patience: the pipe closes when both have ended
    )
    assert done.stdout == "None\n"


def test_patience_has_an_end(waits):
    let_first_process_end(patience=0.0)
    assert not waits


def test_process_that_lightning_did_not_start_waits_for_none(waits, monkeypatch):
    monkeypatch.setenv("LOCAL_RANK", "0")
    let_first_process_end()
    assert not waits


def test_only_errors_of_connections_are_lost_connections():
    assert is_lost_connection(torch.distributed.DistNetworkError("timed out"))
    assert is_lost_connection(RuntimeError("[/pytorch/third_party/gloo/gloo/transport/tcp/pair.cc:534] closed by peer"))
    assert not is_lost_connection(RuntimeError("shapes cannot be multiplied"))
    assert not is_lost_connection(ValueError("gloo/transport"))


class Disk(StagedDDP):
    """A process whose first one's disk is full, or is not."""

    def __init__(self, rank: int, is_full: bool) -> None:
        super().__init__()
        self.rank, self.is_full = rank, is_full

    @property
    def is_global_zero(self) -> bool:
        return self.rank == 0

    def broadcast(self, obj, src=0):
        self.told = obj
        return "No space left on device" if self.is_full else None


@pytest.mark.parametrize(("rank", "error"), [(0, OSError), (1, UserError)])
def test_every_process_fails_where_the_first_cannot_save(rank, error, monkeypatch):
    def write(self, checkpoint, filepath, storage_options=None):
        if self.is_global_zero and self.is_full:
            raise OSError("No space left on device")

    monkeypatch.setattr("lightning.pytorch.strategies.Strategy.save_checkpoint", write)
    Disk(rank, is_full=False).save_checkpoint({}, "last.ckpt")
    disk = Disk(rank, is_full=True)
    with pytest.raises(error, match="No space left on device"):
        disk.save_checkpoint({}, "last.ckpt")
    assert disk.told == (None if rank else "No space left on device")
