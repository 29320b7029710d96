"""The README's commands, as written."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from distill.cli import TOOLS, main

ROOT = Path(__file__).parents[1]


def commands() -> list[str]:
    """Return the lines of the README's bash blocks."""
    blocks = re.findall(r"```bash\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), flags=re.DOTALL)
    return [line for block in blocks for line in block.splitlines() if line.strip()]


COMMANDS = [line for line in commands() if line.startswith("python train.py")]
TRAINING = [line for line in COMMANDS if shlex.split(line)[2] not in TOOLS]


def test_readme_starts_with_the_two_commands():
    assert commands()[:2] == ["pip install -e .", "python train.py fit --config configs/distill.yaml"]


@pytest.mark.parametrize("line", TRAINING)
def test_command_parses(line, monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    with pytest.raises(SystemExit) as exit_info:
        main([*shlex.split(line)[2:], "--print_config"])
    assert exit_info.value.code == 0
    assert "class_path: distill.DistillationModule" in capsys.readouterr().out


@pytest.mark.parametrize("line", [line for line in COMMANDS if line not in TRAINING])
def test_command_without_a_trainer_parses(line, capsys):
    with pytest.raises(SystemExit) as exit_info:
        main([*shlex.split(line)[2:], "--print_config"])
    assert exit_info.value.code == 0


@pytest.mark.slow
def test_commands_run_as_written_and_give_what_the_readme_shows(tmp_path):
    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
    for line in TRAINING:
        arguments = [sys.executable, *shlex.split(line)[1:]]
        subprocess.run(arguments, cwd=clone, check=True, timeout=1500)
    run = clone / "lightning_logs" / "distill" / "version_0"
    report = json.loads((run / "report.json").read_text(encoding="utf-8"))
    assert [stage["name"] for stage in report["stages"]] == ["intermediate", "logits"]
    assert report["teacher"]["f1"] >= 85
    # Low-precision training differs between processors, so not the figure itself.
    assert report["retention"]["f1"] >= 0.97
    assert report["compression"]["parameters"] >= 4
    assert report["compression"]["bytes"] >= 4
    assert "unseen_wording/f1" in report["student"]["scores"]
    tested = json.loads((clone / "lightning_logs" / "distill" / "version_1" / "predictions.json").read_text("utf-8"))
    assert len(tested) == report["data"]["validation"]["questions"]
    size = sum(tensor.stat().st_size for tensor in (run / "student").glob("*.safetensors"))
    checkpoint = (run / "checkpoints" / "last.ckpt").stat().st_size
    assert checkpoint < 3.5 * size
