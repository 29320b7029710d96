"""What launchers say about the processes that they started."""

import pytest

from distill.distributed.layout import Layout, launched_layout

TORCHRUN = {"TORCHELASTIC_RUN_ID": "1", "WORLD_SIZE": "8", "LOCAL_WORLD_SIZE": "4", "RANK": "5"}
SRUN = {"SLURM_NTASKS": "6", "SLURM_NNODES": "3", "SLURM_NTASKS_PER_NODE": "2", "SLURM_JOB_NAME": "distill"}


@pytest.fixture(autouse=True)
def _no_launcher(monkeypatch):
    for name in {*TORCHRUN, *SRUN}:
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("said", "layout"),
    [
        ({}, None),
        (TORCHRUN, Layout(num_devices=4, num_nodes=2)),
        (SRUN, Layout(num_devices=2, num_nodes=3)),
        ({**SRUN, "SLURM_JOB_NAME": "bash"}, None),  # a shell within an allocation
    ],
    ids=["none", "torchrun", "srun", "shell"],
)
def test_layout_is_the_launchers(monkeypatch, said, layout):
    for name, value in said.items():
        monkeypatch.setenv(name, value)
    assert launched_layout() == layout
