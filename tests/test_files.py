import errno
import os
import time
from pathlib import Path

import pytest

from distill.files import new_folder, write_text


def test_file_is_on_the_disk_before_it_takes_its_place(tmp_path, monkeypatch):
    target, events = tmp_path / "deep" / "status.json", []
    fsync = os.fsync

    def watch(descriptor) -> None:
        events.append((Path(f"/proc/self/fd/{descriptor}").readlink().name, target.exists()))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", watch)
    write_text(target, "¿sí?\n")
    assert target.read_bytes() == "¿sí?\n".encode()
    assert events == [(".status.json.partial", False), ("deep", True)]


@pytest.mark.parametrize("where", ["fsync", "replace"])
def test_full_disk_leaves_the_older_file_and_nothing_else(tmp_path, monkeypatch, where):
    def fail(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    target = tmp_path / "status.json"
    write_text(target, "old")
    monkeypatch.setattr(*(("os.fsync",) if where == "fsync" else (Path, "replace")), fail)
    with pytest.raises(OSError, match=f"No space left on device: '{target}'"):
        write_text(target, "new")
    assert target.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["status.json"]


def test_folder_appears_whole(tmp_path):
    with new_folder(tmp_path / "deep" / "result") as folder:
        (folder / "a.txt").write_text("a")
        assert not (tmp_path / "deep" / "result").exists()
    assert (tmp_path / "deep" / "result" / "a.txt").read_text() == "a"
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["result"]


def test_failure_leaves_nothing(tmp_path):
    def write():
        with new_folder(tmp_path / "result") as folder:
            (folder / "a.txt").write_text("a")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("number", "name"), [(errno.ENOSPC, "result"), (errno.ECONNRESET, None)])
def test_full_disk_is_named_by_what_was_to_be_written(tmp_path, number, name):
    def write():
        with new_folder(tmp_path / "result"):
            raise OSError(number, "what happened")  # as the system does where a file is open already

    with pytest.raises(OSError, match="what happened") as caught:
        write()
    assert caught.value.filename == (name and str(tmp_path / name))


def test_what_a_killed_process_left_is_removed_by_the_next(tmp_path):
    hour_ago = time.time() - 3600

    def left(name: str, file: str = "a.txt", changed: float = hour_ago) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        (folder / file).touch()
        for path in (folder / file, folder):
            os.utime(path, (changed, changed))
        return folder

    killed = left(".result.0123abcd")
    kept = [
        left(".result.4567abcd", changed=time.time()),
        left(".results.0123abcd"),
        left(".result.0123abcd.older"),
        left("result.0123abcd"),
    ]
    with new_folder(tmp_path / "result", replace=True) as filled:
        os.utime(filled, (hour_ago, hour_ago))
        with new_folder(tmp_path / "result"):
            assert filled.exists()
    assert not killed.exists()
    assert all(folder.exists() for folder in kept)
    assert {path.name for path in tmp_path.iterdir()} == {"result", *(folder.name for folder in kept)}


def test_older_folder_gives_way_when_asked(tmp_path):
    (tmp_path / "result").mkdir()
    (tmp_path / "result" / "old.txt").write_text("old")
    with new_folder(tmp_path / "result", replace=True) as folder:
        (folder / "new.txt").write_text("new")
        assert (tmp_path / "result" / "old.txt").exists()
    assert [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.txt")] == ["result/new.txt"]


def test_older_folder_is_put_back_when_its_replacement_is_interrupted(tmp_path, monkeypatch):
    replace = Path.replace

    def interrupt(path, target):
        if target == tmp_path / "result" and not path.name.endswith(".older"):
            raise KeyboardInterrupt
        return replace(path, target)

    (tmp_path / "result").mkdir()
    (tmp_path / "result" / "old.txt").write_text("old")
    monkeypatch.setattr(Path, "replace", interrupt)
    with pytest.raises(KeyboardInterrupt), new_folder(tmp_path / "result", replace=True):
        pass
    assert [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")] == ["result", "result/old.txt"]


def test_existing_content_is_not_replaced(tmp_path):
    (tmp_path / "result").mkdir()
    (tmp_path / "result" / "mine.txt").write_text("mine")
    with pytest.raises(OSError, match="result"), new_folder(tmp_path / "result"):
        pass
    assert (tmp_path / "result" / "mine.txt").read_text() == "mine"
