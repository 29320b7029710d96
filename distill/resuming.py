"""Which run a command goes on with, as functions of folders and configurations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn

from distill.checkpoints import CHECKPOINT_FOLDER, LAST, PREVIOUS, damage_of
from distill.distributed.launch import first_says
from distill.loggers import flatten
from distill.reporting.status import lock_run, read_status
from distill.types import UserError

#: The word in place of a path that stands for the newest unfinished run of the same configuration.
AUTO = "auto"

#: Settings that say where a run lies or goes on, not what it is.
_PLACE = ("ckpt_path", "weights_only", "trainer.logger")

#: In the name of a setting that a checkpoint's state of the optimizer brings with it.
_OPTIMIZER = ".optimizer.init_args."

#: Settings in which a run may differ and still be taken for the one that was meant, and how many such runs are named.
_NEAR = 3
_MAX_NAMED = 3


@dataclass(frozen=True)
class Continued:
    """A run that goes on in its own folder.

    Attributes:
        folder: Its folder.
        checkpoint: Where it goes on; None from its beginning, since it was killed before its first checkpoint.
        wandb_id: Its run in W&B.
        differences: Settings that are not those it began with: name, then the two values.
    """

    folder: Path
    checkpoint: Path | None
    wandb_id: str | None
    differences: tuple[str, ...] = ()


def newest_run(folders: Path, config: Mapping[str, Any]) -> Continued | None:
    """Return the newest run of a configuration under ``folders`` that has not finished; None where there is none.

    A run that another process is working on is left to it. Runs that are passed over although they may have been meant
    are named: those in use, those whose configuration cannot be read, and those that differ in little.

    Args:
        folders: Holds the folders of runs.
        config: The configuration, resolved.
    """
    unfinished = [
        folder
        for folder in (folders.iterdir() if folders.is_dir() else ())
        if (status := read_status(folder)) is not None and status.state != "finished"
    ]
    num_named = 0
    for folder in sorted(unfinished, key=lambda folder: (folder / "status.json").stat().st_mtime_ns, reverse=True):
        try:
            differing = differences(read_config(folder), config)
        except UserError as error:
            rank_zero_warn(f"--ckpt_path auto: a run is passed over: {error}")
            continue
        if not differing and _is_free(folder):
            return Continued(folder, sound_checkpoint(folder), _wandb_id(folder))
        if len(differing) <= _NEAR and num_named < _MAX_NAMED:
            reason = "; ".join(differing) or "another process is working on it"
            rank_zero_info("--ckpt_path auto: passing over the run %s: %s", folder, reason)
            num_named += 1
    return None


def run_of(checkpoint: Path, config: Mapping[str, Any]) -> Continued | None:
    """Return the unfinished run whose state to resume from a checkpoint is; None for any other checkpoint."""
    file = checkpoint.resolve()  # also where it is named from within its folder
    folder = file.parent.parent
    status = read_status(folder)
    is_state = file.name in (LAST, PREVIOUS) and file.parent.name == CHECKPOINT_FOLDER
    if not is_state or status is None or status.state == "finished":
        return None
    try:
        differing = tuple(differences(read_config(folder), config))
    except UserError as error:
        rank_zero_warn(f"what the run has been configured with is not known: {error}")
        differing = ()
    return Continued(folder, checkpoint, status.wandb_id, differing)


def sound_checkpoint(folder: Path) -> Path | None:
    """Return a run's newest checkpoint that is whole, and name those that are not."""
    for file in (folder / CHECKPOINT_FOLDER / name for name in (LAST, PREVIOUS)):
        try:
            damage = damage_of(file)
        except FileNotFoundError:
            continue
        except OSError as error:
            damage = f"it cannot be read: {error.strerror}"
        if damage is None:
            return file
        rank_zero_warn(f"{file}: the checkpoint is passed over: {damage}")
    return None


def read_config(folder: Path) -> dict[str, Any]:
    """Return what a run was configured with.

    Raises:
        UserError: If its ``config.yaml`` is missing or damaged.
    """
    file = folder / "config.yaml"
    try:
        config = yaml.safe_load(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{file}: {error.strerror}") from error
    except (UnicodeDecodeError, yaml.YAMLError, RecursionError) as error:
        raise UserError(f"{file}: not YAML in UTF-8: {next(iter(str(error).splitlines()), 'damaged')}") from error
    if not isinstance(config, dict):
        raise UserError(f"{file}: not a configuration")
    return config


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Return what differs between two resolved configurations, each as ``name: old -> new``.

    Where a run lies and how it goes on are no differences.

    Example:
        >>> differences({"seed_everything": 1, "ckpt_path": None}, {"seed_everything": 2, "ckpt_path": "auto"})
        ['seed_everything: 1 -> 2']
    """
    left, right = flatten(old), flatten(new)
    names = [name for name in {**left, **right} if not any(name == p or name.startswith(f"{p}.") for p in _PLACE)]
    return [f"{name}: {left.get(name)} -> {right.get(name)}" for name in names if left.get(name) != right.get(name)]


def log_folder(config: Mapping[str, Any]) -> Path | None:
    """Return the folder that holds the folders of runs, as the first logger of a configuration says."""
    settings: Any = next((logger["init_args"] for logger in _loggers(config)), {})
    return Path(settings["save_dir"]) / (settings["name"] or "") if "save_dir" in settings else None


def go_on(config: Any, resolved: str) -> None:
    """Change the configuration of a fit so that it goes on with the run that its ``ckpt_path`` means, and say so.

    ``auto`` means the newest unfinished run of the same configuration, which of several processes the first one chooses
    for all; the path of the last or previous checkpoint of
    an unfinished run means that one. Such a run goes on in its folder and in its run of W&B. With any other checkpoint
    a new run begins.

    Args:
        config: The configuration as parsed, which is changed.
        resolved: The same as YAML.

    Raises:
        UserError: If the run's log would be lost.
    """
    settings = yaml.safe_load(resolved)
    if config["ckpt_path"] != AUTO:
        run = run_of(Path(config["ckpt_path"]), settings)
    else:
        folder = log_folder(settings)
        run = _chosen_by_the_first(folder, settings) if folder is not None else None
        if run is None:
            config["ckpt_path"] = None
            rank_zero_info("--ckpt_path auto: no unfinished run of this configuration in %s; starting anew", folder)
    if run is None:
        if config["ckpt_path"] is not None:
            _say_what_holds(_differences_from(Path(config["ckpt_path"]), settings))
        return
    where = "its beginning" if run.checkpoint is None else run.checkpoint
    rank_zero_info("going on with the run %s from %s", run.folder, where)
    for difference in _say_what_holds(run.differences):
        rank_zero_warn(f"the run goes on with another setting than it began with: {difference}")
    config["ckpt_path"] = str(run.checkpoint) if run.checkpoint is not None else None
    loggers = _loggers(config)
    if not loggers:
        return
    first, *others = loggers
    if not first["class_path"].endswith("CsvRun"):
        raise UserError("trainer.logger: list a distill.CsvRun first; another logger deletes the run's metrics.csv")
    for logger in others:
        if logger["class_path"].endswith("WandbRun"):
            logger["init_args"]["id"] = logger["init_args"]["id"] or run.wandb_id
    _place(first["init_args"], [logger["init_args"] for logger in others], run.folder)


def _differences_from(checkpoint: Path, config: Mapping[str, Any]) -> list[str]:
    """Return how a configuration differs from that of the run of a checkpoint, as far as that is known."""
    with suppress(UserError):
        return differences(read_config(checkpoint.resolve().parent.parent), config)
    return []


def _say_what_holds(differing: Sequence[str]) -> list[str]:
    """Name the optimizer's settings, which a checkpoint brings with it, and return the other differences."""
    others = []
    for difference in differing:
        name, _, values = difference.partition(": ")
        if _OPTIMIZER not in name:
            others.append(difference)
            continue
        old, _, new = values.partition(" -> ")
        if name.endswith(".lr"):
            rank_zero_warn(f"{name}: neither the checkpoint's {old} nor {new} holds: learning rates are the stages'")
        else:
            rank_zero_warn(f"{name}: the checkpoint's {old} holds, not {new}")
    return others


def _place(first: Any, others: Sequence[Any], folder: Path) -> None:
    """Change the arguments of the loggers so that the first one writes into a run's folder, wherever that lies.

    What the others write beside the runs they write beside that one.
    """
    save_dir = str(first["save_dir"])
    first["version"] = _version(folder.name)
    if (Path(save_dir) / (first["name"] or "")).resolve() == folder.parent.resolve():
        return
    place = folder.resolve().parent
    first["save_dir"], first["name"] = str(place.parent), place.name
    for settings in others:
        if str(settings.get("save_dir")) == save_dir:
            settings["save_dir"] = first["save_dir"]


def _loggers(config: Mapping[str, Any]) -> list[Any]:
    loggers = config["trainer"]["logger"]
    given = loggers if isinstance(loggers, list) else [loggers]
    return [logger for logger in given if isinstance(logger, Mapping) or hasattr(logger, "class_path")]


def _version(name: str) -> int | str:
    """Return the version whose folder has a name; ``version_07`` is a name of its own."""
    number = name.removeprefix("version_")
    return int(number) if number.isdecimal() and name == f"version_{int(number)}" else name


def _chosen_by_the_first(folders: Path, settings: Mapping[str, Any]) -> Continued | None:
    """Return the newest run that the first process of this launch finds, on every one of its processes."""

    def choose() -> list[str | None] | None:
        run = newest_run(folders, settings)
        if run is None:
            return None
        return [str(run.folder), str(run.checkpoint) if run.checkpoint else None, run.wandb_id]

    chosen = first_says(choose, settings["trainer"]["num_nodes"])
    if chosen is None:
        return None
    folder, checkpoint, wandb_id = chosen
    return Continued(Path(folder), Path(checkpoint) if checkpoint else None, wandb_id)


def _wandb_id(folder: Path) -> str | None:
    status = read_status(folder)
    return status.wandb_id if status is not None else None


def _is_free(folder: Path) -> bool:
    file = lock_run(folder)
    if file is None:
        return False
    file.close()
    return True
