"""The batch script on a real SLURM of two nodes: preempted in each stage, it ends as if nothing had happened."""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from .slurm import SlurmCluster, missing_programs

ROOT = Path(__file__).parents[2]

#: How SLURM names the end of a job.
ENDED = {"COMPLETED", "FAILED", "TIMEOUT", "CANCELLED", "NODE_FAIL", "OUT_OF_MEMORY"}


@pytest.fixture
def slurm() -> Iterator[SlurmCluster]:
    if missing := missing_programs():
        pytest.skip(f"SLURM is not installed: no {', '.join(missing)} (Debian: apt install slurm-wlm munge)")
    folder = Path(tempfile.mkdtemp(prefix="slurm"))  # paths of sockets are short, those of tmp_path are not
    try:
        with SlurmCluster(folder / "run") as cluster:
            yield cluster
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class Run:
    """A run of the batch script in a folder of its own."""

    def __init__(self, slurm: SlurmCluster, folder: Path) -> None:
        self.slurm, self.folder = slurm, folder
        folder.mkdir()
        for name in ("train.py", "distill"):
            (folder / name).symlink_to(ROOT / name)
        # A `python` that is this one.
        (folder / "bin").mkdir()
        (folder / "bin" / "python").write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n', encoding="utf-8")
        (folder / "bin" / "python").chmod(0o755)
        environment = {
            "PATH": f"{folder / 'bin'}:{slurm.environment['PATH']}",
            "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo",
        }  # fmt: skip
        self.job = slurm.submit(
            "--cpus-per-task=1", f"--chdir={folder}", str(ROOT / "configs" / "cluster" / "slurm.sh"),
            "--config", str(ROOT / "tests" / "cluster" / "run.yaml"), environment=environment,
        )  # fmt: skip

    @property
    def output(self) -> str:
        file = self.folder / f"slurm-{self.job}.out"
        return file.read_text(encoding="utf-8", errors="replace") if file.exists() else ""

    def wait_for(self, text: str, count: int = 1, seconds: float = 240) -> None:
        """Wait until the job has printed something so often."""
        end = time.monotonic() + seconds
        while self.output.count(text) < count:
            self.slurm.hurry(self.job)
            state = self.end()
            assert not state, f"{state} without {text!r}:\n{self.output[-3000:]}\n{self.slurm.logs()}"
            assert time.monotonic() < end, f"no {text!r} within {seconds} s:\n{self.output[-3000:]}"
            time.sleep(0.3)

    def preempt(self) -> None:
        """Send what SLURM sends before it takes the nodes away."""
        self.slurm.ask("scancel", "--signal=USR1", self.job)

    def end(self) -> str:
        """Return how the job has ended, nothing while it has not; one that is being put back may look failed."""
        for _ in range(10):
            if (state := self.slurm.job(self.job).get("JobState", "")) not in ENDED:
                return ""
            time.sleep(0.5)
        return state

    def finish(self, seconds: float = 300) -> str:
        """Return how the job has ended."""
        end = time.monotonic() + seconds
        while not (state := self.end()):
            self.slurm.hurry(self.job)
            assert time.monotonic() < end, f"no end within {seconds} s:\n{self.output[-3000:]}"
            time.sleep(0.5)
        return state

    def result(self) -> bytes:
        """Return the student's weights."""
        (run,) = (self.folder / "runs" / "cluster").iterdir()  # one folder throughout
        return (run / "student" / "model.safetensors").read_bytes()

    def report(self) -> dict:
        (file,) = (self.folder / "runs" / "cluster").glob("*/report.json")
        return json.loads(file.read_text(encoding="utf-8"))

    def wandb_ids(self) -> set[str]:
        """Return the identifiers of all W&B runs that the processes have begun."""
        return {path.name.rsplit("-", 1)[1] for path in (self.folder / "runs" / "wandb").glob("offline-run-*")}


@pytest.mark.slow
def test_job_that_is_preempted_in_each_stage_ends_as_one_that_is_not(slurm, tmp_path):
    stages = yaml.safe_load((ROOT / "tests" / "cluster" / "run.yaml").read_text(encoding="utf-8"))["schedule"]["stages"]
    run = Run(slurm, tmp_path / "preempted")
    for number, stage in enumerate(stages, start=1):
        run.wait_for(f"stage {stage} begins", count=1)
        time.sleep(0.5)  # some steps into it
        run.preempt()
        run.wait_for("SIGUSR1: saving, then stopping", count=number)
    assert run.finish() == "COMPLETED", run.output[-3000:]
    restarts = slurm.job(run.job)["Restarts"]
    assert restarts == "2"
    undisturbed = Run(slurm, tmp_path / "undisturbed")
    assert undisturbed.finish() == "COMPLETED", undisturbed.output[-3000:]
    assert run.report()["environment"]["num_devices"] == 2
    assert run.result() == undisturbed.result()
    assert run.report()["student"]["f1"] == undisturbed.report()["student"]["f1"]
    assert len(run.wandb_ids()) == 1
