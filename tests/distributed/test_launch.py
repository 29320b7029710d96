"""What the processes of a launch agree on before torch's group: the first one's word, whatever the others would say."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from distill.distributed.launch import Meeting, first_says, meeting
from distill.types import UserError

ROOT = Path(__file__).parents[2]
NAMES = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT", "NODE_RANK", "LOCAL_RANK", "DISTILL_FIRST_PROCESS_SAYS")
SRUN = {
    "SLURM_NTASKS": "4",
    "SLURM_NNODES": "2",
    "SLURM_NTASKS_PER_NODE": "2",
    "SLURM_JOB_NAME": "distill",
    "SLURM_PROCID": "3",
    "SLURM_JOB_ID": "17",
    "SLURM_NODELIST": "n1",
    "MASTER_ADDR": "n1",
    "MASTER_PORT": "5",
}

#: Hears the first one twice, then meets in torch's group at the same port, as training does.
CHILD = """
import os
from datetime import timedelta
import torch
from torch import distributed as dist
from distill.distributed.launch import first_says
from distill.types import UserError

def fail():
    raise UserError(f"no luck for {os.environ['RANK']}")

print(first_says(lambda: {"rank": int(os.environ["RANK"])}))
try:
    first_says(fail)
except UserError as error:
    print(error)
dist.init_process_group("gloo", timeout=timedelta(seconds=60))
total = torch.ones(1)
dist.all_reduce(total)
print(int(total))
"""


@pytest.fixture(autouse=True)
def _no_launcher(monkeypatch):
    for name in (*NAMES, *SRUN):
        monkeypatch.setenv(name, "")  # restored afterwards, also where it is set meanwhile
        monkeypatch.delenv(name)


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


@pytest.mark.slow
def test_every_process_takes_the_first_ones_word_and_then_joins_the_group(tmp_path):
    script = tmp_path / "child.py"
    script.write_text(CHILD, encoding="utf-8")
    common = {**os.environ, "PYTHONPATH": str(ROOT), "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1"}
    common |= {"MASTER_PORT": str(free_port()), "OMP_NUM_THREADS": "1"}
    children = [
        subprocess.Popen([sys.executable, script], env={**common, "RANK": rank}, stdout=subprocess.PIPE, text=True)
        for rank in "10"
    ]
    expected = "{'rank': 0}\nno luck for 0\n2\n"
    assert [child.communicate(timeout=300)[0] for child in children] == [expected] * 2


def test_alone_a_process_hears_itself_and_leaves_word_for_those_it_starts(monkeypatch):
    assert first_says(lambda: [1, "a"]) == [1, "a"]
    assert first_says(lambda: "again") == "again"
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert first_says(lambda: pytest.fail("only the first decides")) == "again"
    monkeypatch.setenv("LOCAL_RANK", "0")

    def fail():
        raise UserError("no luck")

    with pytest.raises(UserError, match="no luck"):
        first_says(fail)
    monkeypatch.setenv("LOCAL_RANK", "1")
    with pytest.raises(UserError, match="no luck"):
        first_says(lambda: None)


def test_process_that_nobody_told_anything_does_not_guess(monkeypatch):
    monkeypatch.setenv("LOCAL_RANK", "1")
    with pytest.raises(UserError, match="start them with torchrun or srun"):
        first_says(lambda: None)


def test_where_processes_meet_is_the_launchers(monkeypatch):
    assert meeting() is None
    set_all(monkeypatch, {"RANK": "1", "WORLD_SIZE": "4", "MASTER_ADDR": "host", "MASTER_PORT": "77"})
    assert meeting() == Meeting(1, 4, "host", 77)
    set_all(monkeypatch, SRUN)
    assert meeting()[:3] == (3, 4, "n1")


def test_alone_with_a_launcher_there_is_nobody_to_meet(monkeypatch):
    set_all(monkeypatch, {"RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "host", "MASTER_PORT": "77"})
    assert meeting() is None


def test_nodes_that_were_started_by_hand_meet_by_their_first_processes(monkeypatch):
    set_all(monkeypatch, {"NODE_RANK": "1", "MASTER_ADDR": "host", "MASTER_PORT": "77"})
    assert meeting(num_nodes=2) == Meeting(1, 2, "host", 77)
    assert meeting() is None
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert meeting(num_nodes=2) is None
    monkeypatch.setenv("DISTILL_FIRST_PROCESS_SAYS", json.dumps({"decided": 5}))
    assert first_says(lambda: 6, num_nodes=2) == 5


def set_all(monkeypatch, values):
    for name, value in values.items():
        monkeypatch.setenv(name, value)
