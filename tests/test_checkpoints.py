"""Checkpoint files: whole or not at all, and damage is never loaded in silence."""

from __future__ import annotations

import errno
import os
import subprocess
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from distill.checkpoints import is_sound, keep_previous, load_checkpoint, save_checkpoint
from distill.types import UserError

CONTENT = {"state_dict": {"a": torch.arange(40.0), "b": torch.ones(3, 2)}, "global_step": 7, "names": ["x", "y"]}


def same(one, other) -> bool:
    tensors = all(torch.equal(one["state_dict"][name], other["state_dict"][name]) for name in CONTENT["state_dict"])
    return tensors and {**one, "state_dict": 0} == {**other, "state_dict": 0}


@pytest.fixture(scope="module")
def sound(tmp_path_factory) -> bytes:
    path = tmp_path_factory.mktemp("sound") / "last.ckpt"
    save_checkpoint(path, CONTENT)
    return path.read_bytes()


def test_what_is_saved_is_loaded(tmp_path):
    save_checkpoint(tmp_path / "new" / "last.ckpt", CONTENT)
    assert same(load_checkpoint(tmp_path / "new" / "last.ckpt"), CONTENT)
    assert [file.name for file in (tmp_path / "new").iterdir()] == ["last.ckpt"]
    assert is_sound(tmp_path / "new" / "last.ckpt")


@given(data=st.data())
def test_a_cut_file_is_recognised(sound, tmp_path_factory, data):
    path = tmp_path_factory.mktemp("cut") / "last.ckpt"
    path.write_bytes(sound[: data.draw(st.integers(0, len(sound) - 1))])
    assert not is_sound(path)
    with pytest.raises(UserError, match=r"last\.ckpt: the checkpoint is damaged"):
        load_checkpoint(path)


@given(data=st.data())
def test_a_flipped_bit_is_recognised_or_changes_nothing(sound, tmp_path_factory, data):
    path = tmp_path_factory.mktemp("flipped") / "last.ckpt"
    damaged = bytearray(sound)
    damaged[data.draw(st.integers(0, len(sound) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(damaged)
    try:
        loaded = load_checkpoint(path)
    except UserError as error:
        assert "damaged" in str(error)  # noqa: PT017 - either outcome is right
    else:
        assert same(loaded, CONTENT)  # the padding between the parts


def test_a_flipped_weight_is_recognised(sound, tmp_path):
    weights = CONTENT["state_dict"]["a"].numpy().tobytes()
    damaged = bytearray(sound)
    damaged[sound.index(weights) + 17] ^= 1
    (tmp_path / "last.ckpt").write_bytes(damaged)
    with pytest.raises(UserError, match=r"does not match its checksum$"):
        load_checkpoint(tmp_path / "last.ckpt")


def test_the_one_before_is_offered_where_it_is_sound(sound, tmp_path):
    last, previous = tmp_path / "last.ckpt", tmp_path / "previous.ckpt"
    last.write_bytes(sound[:-30])
    previous.write_bytes(sound)
    with pytest.raises(UserError, match=f"the one before is sound: --ckpt_path {previous}"):
        load_checkpoint(last)
    previous.write_bytes(sound[:-30])
    with pytest.raises(UserError) as info:
        load_checkpoint(last)
    assert "the one before" not in str(info.value)


def test_a_missing_file_is_no_damage(tmp_path):
    with pytest.raises(UserError, match=r"none\.ckpt: the checkpoint cannot be read: No such file"):
        load_checkpoint(tmp_path / "none.ckpt")


class Malicious:
    def __reduce__(self):
        return os.mkdir, ("executed",)


def test_nothing_is_executed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"state_dict": Malicious()}, tmp_path / "last.ckpt")
    with pytest.raises(UserError, match="damaged"):
        load_checkpoint(tmp_path / "last.ckpt")
    assert not (tmp_path / "executed").exists()


def test_previous_is_what_last_was(tmp_path):
    last, previous = tmp_path / "last.ckpt", tmp_path / "previous.ckpt"
    keep_previous(last)
    assert not previous.exists()
    for step in range(3):
        keep_previous(last)
        assert step == 0 or load_checkpoint(last)["global_step"] == step - 1  # never missing
        save_checkpoint(last, {"global_step": step})
    assert (load_checkpoint(last)["global_step"], load_checkpoint(previous)["global_step"]) == (2, 1)
    keep_previous(last)
    keep_previous(last)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["last.ckpt", "previous.ckpt"]


def test_file_system_without_hard_links(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.EPERM, "Operation not permitted")

    save_checkpoint(tmp_path / "last.ckpt", {"global_step": 1})
    monkeypatch.setattr(Path, "hardlink_to", refuse)
    keep_previous(tmp_path / "last.ckpt")
    assert load_checkpoint(tmp_path / "previous.ckpt")["global_step"] == 1


@pytest.mark.parametrize("where", ["fsync", "replace"])
def test_failure_leaves_the_old_one_and_says_so(tmp_path, monkeypatch, where):
    def fail(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    last = tmp_path / "last.ckpt"
    save_checkpoint(last, {"global_step": 1})
    monkeypatch.setattr(*(("os.fsync",) if where == "fsync" else (Path, "replace")), fail)
    message = rf"cannot be written: No space left on device; the last good one is whole.*--ckpt_path {last}"
    with pytest.raises(UserError, match=message):
        save_checkpoint(last, {"global_step": 2})
    assert [file.name for file in tmp_path.iterdir()] == ["last.ckpt"]
    assert load_checkpoint(last)["global_step"] == 1


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 64 KB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("file systems cannot be mounted here; the injected errors above stand in")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_disk_that_is_really_full(small_disk):
    last = small_disk / "last.ckpt"
    save_checkpoint(last, {"global_step": 1, "weights": torch.zeros(2_000)})
    keep_previous(last)
    with pytest.raises(UserError, match="No space left on device; the last good one is whole"):
        save_checkpoint(last, {"global_step": 2, "weights": torch.zeros(20_000)})
    assert load_checkpoint(last)["global_step"] == 1
    assert sorted(file.name for file in small_disk.iterdir()) == ["last.ckpt", "previous.ckpt"]


def test_damaged_checkpoint_never_takes_the_place_of_a_sound_one(tmp_path):
    path = tmp_path / "last.ckpt"
    save_checkpoint(path, {"step": 1})
    keep_previous(path)
    save_checkpoint(path, {"step": 2})
    path.write_bytes(path.read_bytes()[:-20])
    keep_previous(path)
    assert load_checkpoint(tmp_path / "previous.ckpt") == {"step": 1}
