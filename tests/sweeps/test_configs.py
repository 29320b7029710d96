"""Every sweep under configs/ names settings that the command line takes, and one is really run."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from distill.cli import main
from distill.sweeps.spec import Sweep, read_sweep
from tests.test_configs import CONFIGS, tiny

SWEEPS = sorted((CONFIGS / "sweeps").glob("*.yaml"))
ROOT = CONFIGS.parent


def some_settings(sweep: Sweep) -> dict:
    """Return a choice for every parameter, not the default one where there is another."""
    return {p.name: p.values[-1] if p.values else p.low if p.kind == "float" else int(p.low) for p in sweep.parameters}


def test_there_are_sweeps():
    assert {path.stem for path in SWEEPS} >= {"recipe", "size"}


@pytest.mark.parametrize("path", SWEEPS, ids=lambda path: path.stem)
def test_sweep_opens_with_purpose_and_command(path):
    first, second = path.read_text(encoding="utf-8").splitlines()[:2]
    assert first.startswith("# Purpose:")
    assert second.startswith(f"# Command:  python -m distill.sweeps configs/sweeps/{path.name} --num_trials")


@pytest.mark.parametrize("path", SWEEPS, ids=lambda path: path.stem)
def test_every_parameter_reaches_the_configuration(path, monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    sweep = read_sweep(path)
    settings = some_settings(sweep)
    arguments = sweep.command_line(settings)[3:]
    with contextlib.suppress(SystemExit):
        main([*arguments, "--print_config"])
    config = yaml.safe_load(capsys.readouterr().out)
    for name, value in settings.items():
        found = config
        for part in name.split("."):
            found = found[part]
        assert found == value, name
    assert sweep.metric == "final/f1"
    assert config["trainer"]["callbacks"] == [{"class_path": "distill.FinalStageScores"}]


@pytest.mark.slow
def test_real_trials_survive_a_kill(tmp_path, teacher_folder, squad_file):
    pytest.importorskip("optuna")
    content = yaml.safe_load((CONFIGS / "sweeps" / "recipe.yaml").read_text(encoding="utf-8"))
    shrink = tiny(teacher_folder, squad_file, tmp_path, "distill.DistillationModule")
    shrink = [argument for argument in shrink if "enable_progress_bar" not in argument]
    content["command"][-1:] = [*shrink, "--trainer.precision=32-true", "${args}"]
    content |= {"program": str(ROOT / "train.py"), "method": "random"}
    content["command"] = [str(ROOT / part) if part == "configs/distill.yaml" else part for part in content["command"]]
    path, folder = tmp_path / "sweep.yaml", tmp_path / "out"
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    command = [sys.executable, "-m", "distill.sweeps", str(path), "--num_trials", "2", "--output", str(folder)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}

    with (tmp_path / "first.log").open("wb") as log:
        runner = subprocess.Popen(command, cwd=tmp_path, stdout=log, stderr=log, env=environment)
        deadline = time.monotonic() + 1500
        while not (folder / "trials" / "0001").is_dir():
            assert runner.poll() is None, (tmp_path / "first.log").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.2)
        runner.send_signal(signal.SIGKILL)
        runner.wait()
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 trials were interrupted and are run again" in done.stdout
    reports = sorted((folder / "trials").glob("*/report.json"))
    assert [report.parent.name for report in reports] == ["0000", "0002"]
    scores = [json.loads(report.read_text(encoding="utf-8"))["student"]["f1"] for report in reports]
    table = Path(folder / "trials.csv").read_text(encoding="utf-8").splitlines()
    assert [float(line.split(",")[2]) for line in table[1:]] == pytest.approx(scores)
    assert (folder / "trials" / "0000" / "report.html").is_file()
    shutil.rmtree(folder)
