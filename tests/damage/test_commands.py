"""Every wrong option, configuration, model or checkpoint ends a command with one clear line and nothing written."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import squad_document
from tests.test_configs import CONFIGS, tiny

from .folders import fill
from .judge import ERROR, Judge, run
from .questions import BY_HAND
from .settings import COMMANDS, OPTIONS, YAML

TRAIN = Path(__file__).parents[2] / "train.py"

#: What a trial of one batch, which writes nothing, would not come across.
WHOLE_RUN = ["--trainer.fast_dev_run=0", "--trainer.max_steps=1", "--trainer.limit_val_batches=1"]
NEEDS_WHOLE_RUN = {
    "logger without CSV", "run folder inside a file",
    "run folder that is a file",
}  # fmt: skip

#: A few kinds, for every day.
QUICK = {
    "null for a number", "stage temperature inf", "seed too large", "checkpoint cut off", "checkpoint of another model",
    "weights a pickle that runs code", "tokenizer of another model",
}  # fmt: skip


@pytest.fixture
def right(teacher_folder, backbone_folder, squad_file, tmp_path, monkeypatch) -> list[str]:
    """Arguments of a run that is right, in a folder with everything that is wrong."""
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    fill(here, teacher_folder, backbone_folder)
    (here / "right.json").write_text(json.dumps(squad_document()), encoding="utf-8")
    options = tiny(teacher_folder, squad_file, tmp_path, "DistillationModule")
    (here / "right.yaml").write_text((CONFIGS / "distill.yaml").read_text(encoding="utf-8"), encoding="utf-8")
    return [f"--config={CONFIGS / 'distill.yaml'}", *options, "--trainer.fast_dev_run=1"]


def judge(cases: dict[str, list[str]], capsys) -> None:
    """Run every command in turn; print what became of them, and fail if one did not end as it should."""
    found = Judge()
    for name, arguments in cases.items():
        outcome = run(arguments)
        found.add(name, outcome if outcome == ERROR else f"not refused: {outcome}")
    with capsys.disabled():
        sys.stdout.write(f"\n{found}\n")
    assert not found.failures, "\n".join(found.failures)
    assert not Path("owned").exists(), "what a file held was run"


def options(right: list[str], names: set[str]) -> dict[str, list[str]]:
    return {
        name: ["fit", *right, *(WHOLE_RUN if name in NEEDS_WHOLE_RUN else []), *OPTIONS[name]]
        for name in OPTIONS
        if name in names
    }


def test_wrong_options_of_each_kind(right, capsys):
    judge(options(right, QUICK), capsys)


@pytest.mark.slow
def test_all_other_wrong_options(right, capsys):
    judge(options(right, OPTIONS.keys() - QUICK), capsys)


@pytest.mark.slow
def test_wrong_configurations(right, capsys):
    cases = {}
    for i, (name, text) in enumerate(YAML.items()):
        Path(f"{i}.yaml").write_text(text, encoding="latin-1" if name == "another encoding" else "utf-8")
        cases[name] = ["fit", *right, f"--config={i}.yaml"]
    judge(cases, capsys)


@pytest.mark.slow
def test_wrong_commands(right, capsys):
    judge(COMMANDS, capsys)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["truncated at half", "all wrong by one", "UTF-16", "nested 100,000 deep"])
def test_wrong_questions_end_a_process_of_its_own(name, right):
    Path("wrong.json").write_bytes(BY_HAND[name])
    command = [sys.executable, str(TRAIN), "fit", *right, "--data.train_files=[wrong.json]"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("error: wrong.json")
