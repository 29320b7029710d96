"""What launchers say about the processes that they started."""

import pytest
from lightning.pytorch.strategies import DDPStrategy, ModelParallelStrategy

from distill.distributed.layout import Layout, launched_layout, lay_out, refuse_sharding
from distill.distributed.strategy import StagedDDP
from distill.types import UserError

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


def test_settings_left_out_are_the_launchers_and_given_ones_stay(monkeypatch):
    for name, value in SRUN.items():
        monkeypatch.setenv(name, value)
    settings = {"accelerator": "cpu", "devices": "auto", "num_nodes": 1, "strategy": "auto"}
    lay_out(settings)
    assert isinstance(settings.pop("strategy"), StagedDDP)
    assert settings == {"accelerator": "cpu", "devices": 2, "num_nodes": 3}
    given = {"accelerator": "cpu", "devices": 1, "num_nodes": 2, "strategy": "ddp"}
    settings = dict(given)
    lay_out(settings)
    assert settings == given


def test_one_process_needs_no_strategy():
    settings = {"accelerator": "cpu", "devices": "auto", "num_nodes": 1, "strategy": "auto"}
    lay_out(settings)
    assert settings["strategy"] == "auto"


@pytest.mark.parametrize(
    ("strategy", "name"),
    [
        pytest.param(ModelParallelStrategy(), "ModelParallelStrategy", id="object"),
        *((name, name) for name in ("fsdp", "fsdp_cpu_offload", "deepspeed_stage_3")),
    ],
)
def test_strategies_that_cut_models_up_are_refused_whatever_they_would_run_on(strategy, name):
    for accepted in (DDPStrategy(), "ddp", "auto"):
        refuse_sharding(accepted)
    with pytest.raises(UserError, match=rf"trainer\.strategy: {name} would cut up the student"):
        lay_out({"accelerator": "cpu", "devices": 2, "num_nodes": 1, "strategy": strategy})
