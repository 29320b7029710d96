"""Which run a command goes on with."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from jsonargparse import Namespace

from distill.checkpoints import save_checkpoint
from distill.csv_log import CsvRun
from distill.reporting.status import RunStatus, lock_run, read_status, write_status
from distill.resuming import AUTO, differences, go_on, newest_run, run_of
from distill.types import UserError

CONFIG = {
    "seed_everything": 1,
    "ckpt_path": AUTO,
    "trainer": {
        "num_nodes": 1,
        "logger": [
            {"class_path": "distill.CsvRun", "init_args": {"save_dir": "logs", "name": "distill", "version": None}},
            {"class_path": "distill.WandbRun", "init_args": {"project": "distill", "id": None}},
        ],
    },
}


@pytest.fixture
def make_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def make(name, state="running", config=CONFIG, age=0, checkpoint=True):
        folder = tmp_path / "logs" / "distill" / name
        (folder / "checkpoints").mkdir(parents=True)
        write_status(folder, RunStatus(state, wandb_id=f"id-{name}"))
        (folder / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
        if checkpoint:
            save_checkpoint(folder / "checkpoints" / "last.ckpt", {"weights": torch.ones(100)})
        os.utime(folder / "status.json", ns=(10**18 - age, 10**18 - age))
        return folder

    return make


def parsed(config=CONFIG) -> Namespace:
    return Namespace(yaml.safe_load(yaml.safe_dump(config)))


def resume(config=CONFIG) -> Namespace:
    result = parsed(config)
    go_on(result, yaml.safe_dump(config))
    return result


def test_auto_goes_on_with_the_newest_unfinished_run_of_the_configuration(make_run):
    make_run("version_0", age=5)
    newest = make_run("version_1", "stopped", age=3)
    make_run("version_2", "finished")
    make_run("version_3", config={**CONFIG, "seed_everything": 2})
    config = resume()
    assert config["ckpt_path"] == str(newest.relative_to(newest.parents[2]) / "checkpoints" / "last.ckpt")
    assert config["trainer"]["logger"][0]["init_args"]["version"] == 1
    assert config["trainer"]["logger"][1]["init_args"]["id"] == "id-version_1"


def test_auto_starts_anew_where_there_is_none_and_says_so(make_run, caplog):
    make_run("version_0", "finished")
    with caplog.at_level("INFO"):
        config = resume()
    assert config["ckpt_path"] is None
    assert config["trainer"]["logger"][0]["init_args"]["version"] is None
    assert "no unfinished run of this configuration" in caplog.text


def test_run_killed_before_its_first_checkpoint_begins_again_in_its_folder(make_run):
    make_run("named", checkpoint=False)
    config = resume()
    assert config["ckpt_path"] is None
    assert config["trainer"]["logger"][0]["init_args"]["version"] == "named"


def test_damaged_checkpoint_gives_way_to_the_one_before(make_run):
    folder = make_run("version_0") / "checkpoints"
    last = folder / "last.ckpt"
    (folder / "previous.ckpt").write_bytes(last.read_bytes())
    last.write_bytes(last.read_bytes()[:-100])
    with pytest.warns(UserWarning, match=r"last\.ckpt: the checkpoint is passed over: it was cut or altered"):
        assert resume()["ckpt_path"].endswith("previous.ckpt")


def test_runs_that_differ_in_little_are_named(make_run, caplog):
    make_run("version_0", config={**CONFIG, "seed_everything": 2})
    make_run("version_1", config={"seed_everything": 3, "a": 1, "b": 2, "c": 3})
    with caplog.at_level("INFO"):
        assert resume()["ckpt_path"] is None
    assert "passing over the run logs/distill/version_0: seed_everything: 2 -> 1" in caplog.text
    assert "version_1" not in caplog.text


def test_few_of_many_runs_that_differ_in_little_are_named(make_run, caplog):
    for seed in range(2, 10):
        make_run(f"version_{seed}", config={**CONFIG, "seed_everything": seed}, age=seed)
    with caplog.at_level("INFO"):
        resume()
    assert [f"version_{seed}:" in caplog.text for seed in range(2, 7)] == [True, True, True, False, False]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"seed_everything: [", "not YAML in UTF-8: while parsing"),
        (b"seed: \xff\xfe", "not YAML in UTF-8: 'utf-8' codec"),
        (b"- 1\n- 2\n", "not a configuration"),
        (b"", "not a configuration"),
        (None, "No such file or directory"),
    ],
)
def test_run_whose_configuration_is_damaged_is_passed_over_and_named(make_run, content, reason):
    older = make_run("version_0", age=5)
    file = make_run("version_1") / "config.yaml"
    file.unlink()
    if content is not None:
        file.write_bytes(content)
    with pytest.warns(UserWarning, match=f"auto: a run is passed over: logs/distill/version_1/config.yaml: {reason}"):
        assert resume()["trainer"]["logger"][0]["init_args"]["version"] == 0
    # Named by its path it goes on all the same, and says what is not known.
    last = file.parent / "checkpoints" / "last.ckpt"
    with pytest.warns(UserWarning, match="what the run has been configured with is not known"):
        assert resume({**CONFIG, "ckpt_path": str(last)})["ckpt_path"] == str(last)
    assert older.exists()


def test_all_processes_take_the_choice_of_the_first(make_run, monkeypatch):
    make_run("version_0")
    monkeypatch.setenv("DISTILL_FIRST_PROCESS_SAYS", "")
    chosen = resume()
    make_run("version_1")  # what a process that starts a moment later would find
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert resume() == chosen


def test_run_of_another_living_process_is_left_alone(make_run, caplog):
    folder = make_run("version_0")
    code = (
        "import sys, pathlib; from distill.reporting.status import lock_run; "
        "held = lock_run(pathlib.Path(sys.argv[1])); print('held', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, str(folder)]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    other = subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert other.stdout.readline() == b"held\n"
    with caplog.at_level("INFO"):
        assert newest_run(folder.parent, CONFIG) is None
    assert f"passing over the run {folder}: another process is working on it" in caplog.text
    assert lock_run(folder) is None
    other.kill()
    other.wait()
    assert newest_run(folder.parent, CONFIG).folder == folder
    other.stdin.close()
    other.stdout.close()


def test_path_of_an_unfinished_runs_state_goes_on_with_that_run_and_says_what_changed(make_run, recwarn):
    folder = make_run("version_0", config={**CONFIG, "seed_everything": 9})
    path = folder / "checkpoints" / "last.ckpt"
    config = resume({**CONFIG, "ckpt_path": str(path)})
    assert config["trainer"]["logger"][0]["init_args"]["version"] == 0
    messages = [str(warning.message) for warning in recwarn]
    assert "the run goes on with another setting than it began with: seed_everything: 9 -> 1" in messages


def folder_of(config: Namespace) -> Path:
    """Return where the first logger of a configuration writes."""
    return Path(CsvRun(**config["trainer"]["logger"][0]["init_args"]).log_dir).resolve()


@pytest.mark.parametrize("place", ["elsewhere/named/version_0", "elsewhere/version_07", "logs/distill", "logs/other/x"])
def test_run_of_another_place_goes_on_in_its_own_folder(make_run, tmp_path, place):
    taken = make_run("version_0")
    folder = tmp_path / place
    if folder != taken.parent:  # a run may also lie right where others have their folders
        folder.parent.mkdir(parents=True, exist_ok=True)
        taken.rename(folder)
        taken = make_run("version_0")
    else:
        shutil.copytree(taken, folder, dirs_exist_ok=True)
    config = resume({**CONFIG, "ckpt_path": str(folder / "checkpoints" / "last.ckpt")})
    assert folder_of(config) == folder
    assert config["trainer"]["logger"][1]["init_args"]["id"] == "id-version_0"


def test_what_was_written_beside_the_runs_goes_where_the_run_is(make_run, tmp_path):
    folder = tmp_path / "elsewhere" / "distill" / "version_0"
    folder.parent.mkdir(parents=True)
    make_run("version_0").rename(folder)
    settings = yaml.safe_load(yaml.safe_dump(CONFIG))
    settings["trainer"]["logger"][1]["init_args"]["save_dir"] = "logs"
    path = str(folder / "checkpoints" / "last.ckpt")
    config = resume({**settings, "ckpt_path": path})
    assert config["trainer"]["logger"][1]["init_args"]["save_dir"] == str(tmp_path / "elsewhere")
    settings["trainer"]["logger"][1]["init_args"]["save_dir"] = "wandb_runs"
    config = resume({**settings, "ckpt_path": path})
    assert config["trainer"]["logger"][1]["init_args"]["save_dir"] == "wandb_runs"


def test_path_from_within_the_run_means_the_run(make_run, monkeypatch):
    folder = make_run("version_0")
    monkeypatch.chdir(folder / "checkpoints")
    config = resume({**CONFIG, "ckpt_path": "last.ckpt"})
    assert folder_of(config) == folder.resolve()
    assert config["ckpt_path"] == "last.ckpt"


def optimized(decay, **settings) -> dict:
    optimizer = {"class_path": "torch.optim.AdamW", "init_args": {"weight_decay": decay, **settings}}
    return {**CONFIG, "model": {"init_args": {"optimizer": optimizer}}}


@pytest.mark.parametrize("case", [("stopped", "last.ckpt"), ("finished", "last.ckpt"), ("stopped", "best.ckpt")])
def test_optimizers_settings_of_the_checkpoint_hold_and_that_is_said(make_run, recwarn, case):
    state, name = case
    folder = make_run("version_0", state, config=optimized(0.01, lr=0.1))
    path = str(folder / "checkpoints" / name)
    resume({**optimized(0.5, lr=0.2), "seed_everything": 2, "ckpt_path": path})
    messages = [str(warning.message) for warning in recwarn if issubclass(warning.category, UserWarning)]
    key = "model.init_args.optimizer.init_args"
    assert f"{key}.weight_decay: the checkpoint's 0.01 holds, not 0.5" in messages
    assert f"{key}.lr: neither the checkpoint's 0.1 nor 0.2 holds: learning rates are the stages'" in messages
    goes_on = "the run goes on with another setting than it began with: "
    is_same_run = case == ("stopped", "last.ckpt")
    assert [m for m in messages if goes_on in m] == [f"{goes_on}seed_everything: 1 -> 2"] * is_same_run


@pytest.mark.parametrize(("state", "name"), [("finished", "last.ckpt"), ("stopped", "best.ckpt")])
def test_any_other_checkpoint_begins_a_new_run(make_run, state, name):
    folder = make_run("version_0", state)
    path = folder / "checkpoints" / name
    assert run_of(path, CONFIG) is None
    config = resume({**CONFIG, "ckpt_path": str(path)})
    assert config["ckpt_path"] == str(path)
    assert config["trainer"]["logger"][0]["init_args"]["version"] is None


def test_logger_that_would_delete_the_metrics_is_refused(make_run):
    logger = {
        "class_path": "lightning.pytorch.loggers.CSVLogger",
        "init_args": CONFIG["trainer"]["logger"][0]["init_args"],
    }
    make_run("version_0")
    with pytest.raises(UserError, match=r"list a distill\.CsvRun first"):
        resume({**CONFIG, "trainer": {"num_nodes": 1, "logger": [logger]}})


def test_place_is_no_difference():
    moved = {**CONFIG, "ckpt_path": None, "trainer": {"num_nodes": 1, "logger": []}}
    assert differences(CONFIG, moved) == []
    assert differences({"a": {"b": [1]}}, {"a": {"b": [2]}, "c": 0}) == ["a.b: [1] -> [2]", "c: None -> 0"]


def test_status_that_cannot_be_read_is_none(tmp_path):
    assert read_status(tmp_path) is None
    (tmp_path / "status.json").write_text('{"state": "runn', encoding="utf-8")
    assert read_status(tmp_path) is None
    write_status(tmp_path, status := RunStatus("stopped", "stopped by SIGTERM at step 3", 3, "x", (1, 2)))
    assert read_status(tmp_path) == status
