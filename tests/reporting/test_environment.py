"""What a report says about where it was made."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import torch

from distill.reporting.environment import command_line, describe_environment, git_commit, package_version


def test_environment_is_plain_data_with_versions():
    environment = json.loads(json.dumps(describe_environment(torch.device("cpu"), "float32")))
    assert environment["torch"] == torch.__version__
    assert environment["device"] == "cpu"
    assert environment["dtype"] == "float32"
    assert environment["num_threads"] == torch.get_num_threads()
    assert environment["cpu"]


def test_version_of_what_is_not_installed_is_nothing():
    assert package_version("no-such-distribution-anywhere") is None


def test_command_line_hides_folders_outside_the_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    argv = ["/opt/bin/train.py", "fit", "--config", f"{tmp_path}/configs/a.yaml", "--data=/home/x/qa file.json", "-n=3"]
    assert command_line(argv) == "train.py fit --config configs/a.yaml '--data=qa file.json' -n=3"
    assert command_line([]) == ""


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    command = ["git", "-C", str(folder), *identity, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def test_commit_of_a_tracked_folder_and_of_a_changed_one(tmp_path):
    git(tmp_path, "init", "-q")
    (tmp_path / "package").mkdir()
    module = tmp_path / "package" / "module.py"
    module.write_text("a = 1\n", encoding="utf-8")
    assert git_commit(tmp_path / "package") is None
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-q", "-m", "first")
    head = git(tmp_path, "rev-parse", "HEAD")
    assert git_commit(tmp_path / "package") == head
    module.write_text("a = 2\n", encoding="utf-8")
    assert git_commit(tmp_path / "package") == f"{head}-dirty"


def test_no_commit_for_a_package_installed_inside_a_checkout(tmp_path):
    git(tmp_path, "init", "-q")
    (tmp_path / "tracked").write_text("x", encoding="utf-8")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-q", "-m", "first")
    (tmp_path / "venv").mkdir()
    (tmp_path / "venv" / "module.py").write_text("", encoding="utf-8")
    assert git_commit(tmp_path / "venv") is None
