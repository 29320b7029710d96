"""Files that are whole or absent."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest

from distill.files import write_json
from distill.reporting.files import run_folder


def test_json_is_readable_and_leaves_no_temporary_file(tmp_path):
    target = tmp_path / "new" / "report.json"
    write_json(target, {"respuesta": "Ávila"})
    assert "Ávila" in target.read_text(encoding="utf-8")
    assert [path.name for path in target.parent.iterdir()] == ["report.json"]


@pytest.mark.parametrize("value", [float("nan"), {1, 2}])
def test_what_json_cannot_hold_leaves_the_old_file(tmp_path, value):
    target = tmp_path / "report.json"
    write_json(target, {"a": 1})
    with pytest.raises((ValueError, TypeError)):
        write_json(target, {"a": value})
    assert json.loads(target.read_text(encoding="utf-8")) == {"a": 1}


def test_run_folder_is_the_loggers_or_the_trainers_and_none_in_a_trial(tmp_path):
    trainer = SimpleNamespace(fast_dev_run=False, log_dir=str(tmp_path / "a"), default_root_dir=str(tmp_path))
    assert run_folder(trainer) == tmp_path / "a"
    trainer.log_dir = None
    assert run_folder(trainer) == tmp_path
    trainer.fast_dev_run = 1
    assert run_folder(trainer) is None
