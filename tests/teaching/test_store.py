"""Logits on disk: what is written is read, and what is not whole is noticed."""

import os
import time

import numpy as np
import pytest
import torch

from distill.teaching.store import (
    CannotStoreError,
    DamagedStoreError,
    LogitStore,
    LogitWriter,
    create_store,
    remove_abandoned,
    seal_store,
)

LENGTHS = np.array([3, 1, 4, 2])
LOGITS = torch.randn(10, 2, generator=torch.Generator().manual_seed(0))
KEY = "0123456789abcdef"


def rows_of(window_id: int) -> torch.Tensor:
    start = int(LENGTHS[:window_id].sum())
    return LOGITS[start : start + LENGTHS[window_id]]


def stored(folder, dtype="float32", key=KEY, logits=LOGITS):
    """Store the logits, the windows out of order and by two writers; return the file."""
    partial, path = folder / "partial", folder / "logits.npy"
    create_store(partial, 10, (2,), dtype).close()
    for window_ids in ([2, 0], [3, 1]):
        writer = LogitWriter(partial, LENGTHS)
        writer.write(window_ids, torch.cat([logits.split(LENGTHS.tolist())[i] for i in window_ids]))
        writer.close()
    seal_store(partial, key, path)
    assert not partial.exists()
    return path


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 0.0), ("float16", 1e-3)])
def test_windows_are_read_back_in_any_order(tmp_path, dtype, tolerance):
    store = LogitStore(stored(tmp_path, dtype), KEY, LENGTHS)
    rows = store.rows([3, 0, 3])
    assert rows.dtype == getattr(torch, dtype)
    expected = torch.cat((rows_of(3), rows_of(0), rows_of(3)))
    torch.testing.assert_close(rows.float(), expected, rtol=tolerance, atol=tolerance)


def test_real_tokens_alone_are_kept_in_the_stated_dtype(tmp_path):
    array = np.load(stored(tmp_path, "float16"))
    assert array.shape == (10, 2)
    assert array.dtype == np.float16


@pytest.mark.parametrize("place", [0, 40, 128, 170, -33, -32, -1])
def test_one_damaged_byte_is_noticed(tmp_path, place):
    path = stored(tmp_path)
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)
    with pytest.raises(DamagedStoreError, match="checksum"):
        LogitStore(path, KEY, LENGTHS)


@pytest.mark.parametrize(
    ("size", "message"), [(0, "cut short"), (32, "cut short"), (150, "checksum"), (-1, "checksum")]
)
def test_file_that_was_cut_is_noticed(tmp_path, size, message):
    path = stored(tmp_path)
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(DamagedStoreError, match=message):
        LogitStore(path, KEY, LENGTHS)


def test_file_under_another_key_or_for_other_windows_is_noticed(tmp_path):
    path = stored(tmp_path)
    with pytest.raises(DamagedStoreError, match="checksum"):
        LogitStore(path, "another key", LENGTHS)
    with pytest.raises(DamagedStoreError, match="10 rows, not 11"):
        LogitStore(path, KEY, LENGTHS + np.array([0, 0, 0, 1]))


def test_absent_file_is_absent(tmp_path):
    with pytest.raises(FileNotFoundError):
        LogitStore(tmp_path / "absent.npy", KEY, LENGTHS)


@pytest.mark.parametrize(
    ("value", "dtype", "message"),
    [(1e5, "float16", r"reach 100000, too much for float16; set dtype: float32"), (float("nan"), "float32", "finite")],
)
def test_logits_that_do_not_fit_are_refused(tmp_path, value, dtype, message):
    logits = LOGITS.clone()
    logits[4, 1] = value
    with pytest.raises(CannotStoreError, match=message):
        stored(tmp_path, dtype, logits=logits)
    assert not (tmp_path / "logits.npy").exists()


def test_sealing_replaces_an_older_file_whole(tmp_path):
    older = stored(tmp_path, key="older key")
    reader = LogitStore(older, "older key", LENGTHS)
    stored(tmp_path)
    torch.testing.assert_close(LogitStore(older, KEY, LENGTHS).rows([1]), rows_of(1))
    torch.testing.assert_close(reader.rows([1]), rows_of(1))  # who reads the older one goes on reading it


def test_unfinished_stores_are_removed_unless_they_are_in_use_or_young(tmp_path):
    paths = {name: tmp_path / f".logits-0123.npy.{name}-0.partial" for name in ("killed", "filled", "young")}
    held = {name: create_store(path, 10, (2,), "float32") for name, path in paths.items()}
    for name in ("killed", "young"):
        held[name].close()
    writer = LogitWriter(paths["filled"], LENGTHS)
    writer.close()  # must not give up what marks the file
    hour_ago = time.time() - 3600
    for name in ("killed", "filled"):
        os.utime(paths[name], (hour_ago, hour_ago))
    other = tmp_path / "logits-0123.npy"
    other.touch()
    os.utime(other, (hour_ago, hour_ago))
    assert remove_abandoned(tmp_path) == [paths["killed"]]
    assert [path.exists() for path in paths.values()] == [False, True, True]
    held["filled"].close()
    assert remove_abandoned(tmp_path) == [paths["filled"]]
    assert other.exists()
    assert remove_abandoned(tmp_path / "none") == []
