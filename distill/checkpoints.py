"""Checkpoint files: written whole or not at all, checked when read, and never unpickled into arbitrary objects.

A checkpoint is the zip archive that ``torch.save`` writes, with a SHA-256 of all of it in the archive's comment, where
other readers overlook it. It is compared before anything is read, so that a file that was cut or altered is recognised.
Archives without one, of before, are checked by the CRC-32 of each of their parts.
"""

from __future__ import annotations

import hashlib
import io
import pickle
import struct
import zipfile
import zlib
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

import torch

from distill.files import new_file, sync_file
from distill.types import UserError

#: The folder of a run that holds its checkpoints, the one to resume from, and the one before that.
CHECKPOINT_FOLDER = "checkpoints"
LAST = "last.ckpt"
PREVIOUS = "previous.ckpt"

#: How a zip archive without a comment ends: this, 16 bytes, and the comment's length, 0.
_END_MARK, _END_SIZE = b"PK\5\6", 22

#: A SHA-256 as the comment: in digits, which hold no mark.
_DIGEST_SIZE = 64
_DIGEST_LENGTH = struct.pack("<H", _DIGEST_SIZE)

#: What the readers of archives and of pickles say of bytes that make no sense.
_UNREADABLE = (
    *(zipfile.BadZipFile, zlib.error, struct.error, pickle.UnpicklingError),
    *(RuntimeError, EOFError, ValueError, KeyError, OverflowError, AttributeError, TypeError),
)


def save_checkpoint(path: Path, content: dict[str, Any]) -> None:
    """Write a checkpoint under a temporary name in the same folder, have it on the disk, and rename it.

    At every moment ``path`` is the old file or the new one, each whole, also where the power fails. What ``last.ckpt``
    was becomes ``previous.ckpt`` once the new one is on the disk: until then both are there, so a disk has to have room
    for three.

    Raises:
        UserError: If it cannot be written; older files stay as they were, and nothing of the new one remains.
    """
    buffer = io.BytesIO()
    torch.save(content, buffer)
    try:
        with new_file(path) as file:
            _write_sealed(buffer.getbuffer(), file)
            if path.name == LAST:
                sync_file(file)
                keep_previous(path)
    except OSError as error:
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
        with path.open("rb") as file:
            if (sealed := _is_sealed_rightly(file)) is not None:
                return None if sealed else "it does not match its checksum"
            if not _ends_without_comment(file):
                return "it was cut or altered"
            with zipfile.ZipFile(file) as archive:
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
        except OSError:
            path.replace(path.with_name(PREVIOUS))
        finally:
            # Two names of one file: then the rename does nothing and leaves the second name.
            second.unlink(missing_ok=True)


def _what_is_left(path: Path) -> str:
    """Return which checkpoint a run may resume from after all."""
    sound = next((file for file in (path.with_name(LAST), path.with_name(PREVIOUS)) if is_sound(file)), None)
    if sound is None:
        return "there is no earlier one"
    return f"the last good one is whole; when that is mended, go on with --ckpt_path {sound}"


def _write_sealed(archive: memoryview, file: IO[bytes]) -> None:
    """Write an archive that has no comment with its checksum as the comment."""
    content = archive[: -len(_DIGEST_LENGTH)]
    digest = hashlib.sha256(content)
    digest.update(_DIGEST_LENGTH)
    for part in (content, _DIGEST_LENGTH, digest.hexdigest().encode()):
        file.write(part)


def _is_sealed_rightly(file: IO[bytes]) -> bool | None:
    """Whether an archive matches the checksum in its comment; None where there is none."""
    size = file.seek(0, io.SEEK_END) - _DIGEST_SIZE
    file.seek(max(0, size - _END_SIZE))
    end = file.read(_END_SIZE)
    if not (end.startswith(_END_MARK) and end.endswith(_DIGEST_LENGTH)):
        return None
    expected = file.read()
    file.seek(0)
    digest = hashlib.sha256()
    while part := file.read(min(2**20, size - file.tell())):
        digest.update(part)
    return digest.hexdigest().encode() == expected


def _ends_without_comment(file: IO[bytes]) -> bool:
    """Whether a file ends as an archive without a comment does."""
    file.seek(max(0, file.seek(0, io.SEEK_END) - _END_SIZE))
    end = file.read()
    return end.startswith(_END_MARK) and end.endswith(b"\0\0")
