"""The benchmark measures what it says it measures: different documents, all of them read."""

from .memory import prepare, write_text_file


def test_written_text_is_read_whole_and_without_duplicates(tmp_path):
    file = tmp_path / "text.txt"
    write_text_file(file, 100_000)
    result = prepare(file, tmp_path / "cache", num_batches=1)
    assert 100_000 <= file.stat().st_size < 105_000
    assert result["reading"]["documents"] == file.read_text(encoding="utf-8").count("Legajo ")
    assert result["reading"]["duplicates"] == 0
    assert result["peak_mb"] >= result["before_mb"] > 0


def test_text_may_be_a_single_line(tmp_path):
    write_text_file(tmp_path / "text.txt", 100_000, one_line=True)
    assert len((tmp_path / "text.txt").read_text(encoding="utf-8").splitlines()) == 1
