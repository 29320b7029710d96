"""Checkpoint files: written whole or not at all, checked when read, and never unpickled into arbitrary objects.

A checkpoint is the zip archive that ``torch.save`` writes. It carries a CRC-32 of each of its parts, which torch itself
does not look at; here they are compared before anything is read, so that a file that was cut or altered is recognised.
"""

from __future__ import annotations

import io
import os
import pickle
import struct
import zipfile
import zlib
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from distill.types import UserError

#: The folder of a run that holds its checkpoints, the one to resume from, and the one before that.
CHECKPOINT_FOLDER = "checkpoints"
LAST = "last.ckpt"
PREVIOUS = "previous.ckpt"

#: What the readers of archives and of pickles say of bytes that make no sense.
_UNREADABLE = (
    *(zipfile.BadZipFile, zlib.error, struct.error, pickle.UnpicklingError),
    *(RuntimeError, EOFError, ValueError, KeyError, OverflowError, AttributeError, TypeError),
)


def save_checkpoint(path: Path, content: dict[str, Any]) -> None:
    """Write a checkpoint under a temporary name in the same folder, have it on the disk, and rename it.

    At every moment ``path`` is the old file or the new one, each whole, also where the power fails.

    Raises:
        UserError: If it cannot be written; an older file stays as it was, and nothing of the new one remains.
    """
    buffer = io.BytesIO()
    torch.save(content, buffer)
    partial = path.with_name(f".{path.name}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as file:
            file.write(buffer.getbuffer())
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
        _sync_folder(path.parent)
    except OSError as error:
        with suppress(OSError):
            partial.unlink()
        raise UserError(f"{path}: the checkpoint cannot be written: {error.strerror}; {_what_is_left(path)}") from error


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint onto the CPU.

    Raises:
        UserError: If there is none, or it is damaged; the message names an older one, where that is sound.
    """
    try:
        damage = damage_of(path)
        if damage is None:
            content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
            return content
    except OSError as error:
        raise UserError(f"{path}: the checkpoint cannot be read: {error.strerror}") from error
    except _UNREADABLE as error:
        damage = next(iter(str(error).strip().splitlines()), type(error).__name__)
    older = path.with_name(PREVIOUS)
    offer = f"; the one before is sound: --ckpt_path {older}" if older != path and is_sound(older) else ""
    raise UserError(f"{path}: the checkpoint is damaged: {damage}{offer}")


def damage_of(path: Path) -> str | None:
    """Return what is wrong with a checkpoint file: that it is no archive, was cut or altered; None if nothing is.

    Raises:
        OSError: If it is absent or cannot be read.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            broken = archive.testzip()
    except _UNREADABLE as error:
        return f"it was cut or altered ({error})"
    return f"its part {broken} does not match its checksum" if broken is not None else None


def is_sound(path: Path) -> bool:
    """Whether there is a checkpoint that nothing is wrong with."""
    try:
        return damage_of(path) is None
    except OSError:
        return False


def keep_previous(path: Path) -> None:
    """Let ``previous.ckpt`` beside ``path`` be what ``path`` is now, before that is replaced.

    A second name for the same file, so ``path`` is never missing; a file system without those gets a renamed file. A
    damaged file never takes the place of a sound one.
    """
    if not is_sound(path):
        return
    second = path.with_name(f".{PREVIOUS}.partial")
    with suppress(OSError):
        second.unlink(missing_ok=True)
        try:
            second.hardlink_to(path)
            second.replace(path.with_name(PREVIOUS))
            # Two names of one file: then the rename does nothing and leaves the second name.
            second.unlink(missing_ok=True)
        except OSError:
            path.replace(path.with_name(PREVIOUS))


def _what_is_left(path: Path) -> str:
    """Return which checkpoint a run may resume from after all."""
    sound = next((file for file in (path.with_name(LAST), path.with_name(PREVIOUS)) if is_sound(file)), None)
    if sound is None:
        return "there is no earlier one"
    return f"the last good one is whole; when that is mended, go on with --ckpt_path {sound}"


def _sync_folder(folder: Path) -> None:
    """Have the rename itself on the disk, where the system can."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
