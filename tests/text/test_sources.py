import pytest

from distill.text.report import TextReport
from distill.text.sources import EmbeddedSource, FileSource
from distill.types import UserError


def test_files_are_read_again_and_again(tmp_path):
    for name, text in (("a.txt", "uno\n\n\ndos"), ("b.txt", "tres")):
        (tmp_path / name).write_text(text, encoding="utf-8")
    source = FileSource([tmp_path])
    assert source.name == "a.txt, b.txt"
    for _ in range(2):
        report = TextReport()
        assert list(source.documents(report)) == ["uno", "dos", "tres"]
        assert (report.files, report.documents) == (2, 3)


def test_what_folders_hold_beside_text_is_reported(tmp_path):
    for name in ("a.txt", "b.pdf"):
        (tmp_path / name).write_text("uno", encoding="utf-8")
    report = TextReport()
    assert list(FileSource([tmp_path]).documents(report)) == ["uno"]
    assert report.passed_over == [str(tmp_path / "b.pdf")]


def test_missing_file_is_refused_before_anything_is_read():
    with pytest.raises(UserError, match=r"missing\.txt: no such file"):
        FileSource(["missing.txt"])


def test_sample_counts_what_it_writes():
    report = TextReport()
    source = EmbeddedSource()
    documents = list(source.documents(report))
    assert (report.files, report.documents, report.characters) == (1, len(documents), sum(map(len, documents)))
    assert source.fingerprint() == EmbeddedSource().fingerprint()
