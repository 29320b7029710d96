"""What the parser of settings lets through although nothing can be made of it."""

from __future__ import annotations

import math
import typing
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from types import NoneType
from typing import Any

from distill.checkpoints import load_checkpoint
from distill.types import UserError

#: The least that settings of the Trainer may be; Lightning takes less and ignores it or stumbles later.
_LEAST = {"accumulate_grad_batches": 1, "gradient_clip_val": 0, "log_every_n_steps": 0, "val_check_interval": 0}

#: Seeds that every random generator takes.
_LARGEST_SEED = 2**32 - 1


def check_run(settings: Mapping[str, Any]) -> None:
    """Check what a command says of seed and Trainer, and that nothing of model and data is null that may not be.

    Raises:
        UserError: If a number is out of range, or something is null.
    """
    for part in ("model", "data"):
        if chosen := settings.get(part):
            module, _, name = chosen["class_path"].rpartition(".")
            check_nulls(part, getattr(import_module(module), name), chosen.get("init_args") or {})
    seed = settings.get("seed_everything")
    if isinstance(seed, int) and not isinstance(seed, bool) and not 0 <= seed <= _LARGEST_SEED:
        raise UserError(f"seed_everything must be from 0 to {_LARGEST_SEED}, not {seed}")
    if "trainer" in settings and settings["trainer"] is None:
        raise UserError("trainer must not be null: leave it out to have the defaults")
    trainer = settings.get("trainer") or {}
    for name, least in _LEAST.items():
        value = trainer.get(name)
        if isinstance(value, int | float) and not (math.isfinite(value) and value >= least):
            raise UserError(f"trainer.{name} must be at least {least}, not {value}")
    for name in ("limit_train_batches", "limit_val_batches", "limit_test_batches", "limit_predict_batches"):
        value = trainer.get(name)
        if isinstance(value, float) and not 0 <= value <= 1:
            raise UserError(f"trainer.{name} is a share from 0.0 to 1.0 or a whole number of batches, not {value}")


def check_checkpoint(path: Path) -> None:
    """Check that a file is a checkpoint of a run, without running what it may hold.

    Raises:
        UserError: If it is not there, damaged, or something else.
    """
    if not path.is_file():
        raise UserError(f"--ckpt_path {path}: there is no such file")
    content = load_checkpoint(path)
    if not (isinstance(content, dict) and {"state_dict", "pytorch-lightning_version", "global_step"} <= content.keys()):
        raise UserError(f"--ckpt_path {path}: not a checkpoint of a run; name a last.ckpt or best.ckpt")


def check_nulls(part: str, kind: type, settings: Mapping[str, Any]) -> None:
    """Check that no setting is null where its type does not allow it.

    Args:
        part: What is set, for messages: ``model``, ``data``.
        kind: The class whose constructor takes the settings.
        settings: Name to value.

    Raises:
        UserError: If one is.
    """
    hints = typing.get_type_hints(kind.__init__)  # type: ignore[misc]
    for name, value in settings.items():
        if value is None and name in hints and NoneType not in (hints[name], *typing.get_args(hints[name])):
            raise UserError(f"{part}.{name} must not be null: give it a value or leave it out")


def check_encoding(arguments: Sequence[str]) -> None:
    """Check that the files that a command line names as configurations are text in UTF-8.

    Raises:
        UserError: If one is not.
    """
    for word, following in zip(arguments, [*arguments[1:], ""], strict=False):
        option, _, value = word.partition("=")
        file = Path(value or following)
        if option in ("--config", "-c") and file.is_file():
            try:
                file.read_text(encoding="utf-8")
            except UnicodeDecodeError as error:
                raise UserError(
                    f"--config {file}: not UTF-8 (byte {error.start:,}): convert the file to UTF-8"
                ) from None
