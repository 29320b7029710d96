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
def test_a_flipped_bit_is_recognised(sound, tmp_path_factory, data):
    path = tmp_path_factory.mktemp("flipped") / "last.ckpt"
    damaged = bytearray(sound)
    damaged[data.draw(st.integers(0, len(sound) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(damaged)
    assert not is_sound(path)
    with pytest.raises(UserError, match="damaged"):
        load_checkpoint(path)


def test_damage_to_the_table_of_contents_is_recognised(sound, tmp_path):
    path = tmp_path / "last.ckpt"
    # Everything behind the last part: headers, sizes, places, names, the number of parts, the checksum.
    for place in range(sound.index(b"PK\1\2"), len(sound)):
        damaged = bytearray(sound)
        damaged[place] ^= 255
        path.write_bytes(damaged)
        assert not is_sound(path)


def test_a_flipped_weight_is_recognised(sound, tmp_path):
    weights = CONTENT["state_dict"]["a"].numpy().tobytes()
    damaged = bytearray(sound)
    damaged[sound.index(weights) + 17] ^= 1
    (tmp_path / "last.ckpt").write_bytes(damaged)
    with pytest.raises(UserError, match=r"does not match its checksum$"):
        load_checkpoint(tmp_path / "last.ckpt")


def test_checkpoints_of_before_and_those_of_torch_are_read_and_checked_by_their_parts(tmp_path):
    path = tmp_path / "last.ckpt"
    torch.save(CONTENT, path)
    assert same(load_checkpoint(path), CONTENT)
    weights = CONTENT["state_dict"]["a"].numpy().tobytes()
    damaged = bytearray(path.read_bytes())
    damaged[damaged.index(weights) + 17] ^= 1
    path.write_bytes(damaged)
    with pytest.raises(UserError, match=r"its part .*data/0 does not match its checksum$"):
        load_checkpoint(path)


@pytest.mark.parametrize("mmap", [True, False])
def test_torch_reads_what_was_sealed(sound, tmp_path, mmap):
    path = tmp_path / "last.ckpt"
    path.write_bytes(sound)
    assert same(torch.load(path, weights_only=True, mmap=mmap), CONTENT)


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
    for step in range(3):
        save_checkpoint(last, {"global_step": step})
        assert load_checkpoint(last)["global_step"] == step
        assert previous.exists() == (step > 0)
    assert load_checkpoint(previous)["global_step"] == 1
    keep_previous(last)
    keep_previous(last)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["last.ckpt", "previous.ckpt"]


def test_two_checkpoints_are_two_files_until_a_third_is_on_the_disk(tmp_path, monkeypatch):
    fsync, steps = os.fsync, []

    def watch(descriptor) -> None:
        fsync(descriptor)
        if Path(f"/proc/self/fd/{descriptor}").readlink().name == ".last.ckpt.partial" and not steps:
            steps.extend(load_checkpoint(tmp_path / name)["global_step"] for name in ("last.ckpt", "previous.ckpt"))

    for step in (1, 2):
        save_checkpoint(tmp_path / "last.ckpt", {"global_step": step})
    monkeypatch.setattr(os, "fsync", watch)
    save_checkpoint(tmp_path / "last.ckpt", {"global_step": 3})
    assert steps == [2, 1]


def test_other_checkpoints_have_no_previous_one(tmp_path):
    for step in (1, 2):
        save_checkpoint(tmp_path / "best.ckpt", {"global_step": step})
    assert [file.name for file in tmp_path.iterdir()] == ["best.ckpt"]


def test_file_system_without_hard_links(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.EPERM, "Operation not permitted")

    save_checkpoint(tmp_path / "last.ckpt", {"global_step": 1})
    monkeypatch.setattr(Path, "hardlink_to", refuse)
    keep_previous(tmp_path / "last.ckpt")
    assert load_checkpoint(tmp_path / "previous.ckpt")["global_step"] == 1


@pytest.mark.parametrize("where", ["fsync", "replace"])
def test_failure_leaves_the_old_ones_and_says_so(tmp_path, monkeypatch, where):
    def fail(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    last = tmp_path / "last.ckpt"
    for step in (1, 2):
        save_checkpoint(last, {"global_step": step})
    monkeypatch.setattr(*(("os.fsync",) if where == "fsync" else (Path, "replace")), fail)
    message = rf"cannot be written: No space left on device; the last good one is whole.*--ckpt_path {last}"
    with pytest.raises(UserError, match=message):
        save_checkpoint(last, {"global_step": 3})
    assert sorted(file.name for file in tmp_path.iterdir()) == ["last.ckpt", "previous.ckpt"]
    assert load_checkpoint(last)["global_step"] == 2
    assert load_checkpoint(tmp_path / "previous.ckpt")["global_step"] == 1


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
    for step in (1, 2):
        save_checkpoint(last, {"global_step": step, "weights": torch.zeros(2_000)})
    with pytest.raises(UserError, match="No space left on device; the last good one is whole"):
        save_checkpoint(last, {"global_step": 3, "weights": torch.zeros(20_000)})
    assert load_checkpoint(last)["global_step"] == 2
    assert load_checkpoint(small_disk / "previous.ckpt")["global_step"] == 1
    assert sorted(file.name for file in small_disk.iterdir()) == ["last.ckpt", "previous.ckpt"]


def test_damaged_checkpoint_never_takes_the_place_of_a_sound_one(tmp_path):
    path = tmp_path / "last.ckpt"
    for step in (1, 2):
        save_checkpoint(path, {"step": step})
    path.write_bytes(path.read_bytes()[:-20])
    save_checkpoint(path, {"step": 3})
    assert load_checkpoint(tmp_path / "previous.ckpt") == {"step": 1}
    assert load_checkpoint(path) == {"step": 3}
