import pytest

from distill.files import new_folder


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


def test_older_folder_gives_way_when_asked(tmp_path):
    (tmp_path / "result").mkdir()
    (tmp_path / "result" / "old.txt").write_text("old")
    with new_folder(tmp_path / "result", replace=True) as folder:
        (folder / "new.txt").write_text("new")
        assert (tmp_path / "result" / "old.txt").exists()
    assert [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.txt")] == ["result/new.txt"]


def test_existing_content_is_not_replaced(tmp_path):
    (tmp_path / "result").mkdir()
    (tmp_path / "result" / "mine.txt").write_text("mine")
    with pytest.raises(OSError, match="result"), new_folder(tmp_path / "result"):
        pass
    assert (tmp_path / "result" / "mine.txt").read_text() == "mine"
