import json

import pytest

from distill.text.report import TextReport


def test_report_survives_json():
    report = TextReport(files=2, empty_files=["a.txt"], invalid_bytes={"b.txt": 3}, documents=5, duplicates=1)
    assert TextReport.from_dict(json.loads(json.dumps(report.as_dict()))) == report
    assert report.kept == 4


@pytest.mark.parametrize(
    ("documents", "cuts", "expected"), [(1, 0, False), (2, 1, True), (3, 1, True), (4, 1, False), (40, 25, True)]
)
def test_documents_are_mostly_cut_where_more_than_half_are_pieces(documents, cuts, expected):
    assert TextReport(files=1, documents=documents, cuts=cuts).is_mostly_cut is expected


def test_names_of_files_follow_them():
    report = TextReport(files=3, empty_files=["a.txt", "b.txt"], invalid_bytes={"b.txt": 3, "c.txt": 1}, documents=5)
    # Two that have changed places, and one that is called as it was.
    renamed = report.renamed({"a.txt": "b.txt", "b.txt": "a.txt"})
    assert (renamed.empty_files, renamed.invalid_bytes) == (["b.txt", "a.txt"], {"a.txt": 3, "c.txt": 1})
    assert (renamed.files, renamed.documents, report.empty_files) == (3, 5, ["a.txt", "b.txt"])


def test_every_kind_of_loss_has_its_line():
    assert len(TextReport(files=1, documents=2).describe()) == 1
    report = TextReport(
        files=3,
        passed_over=["t/e.pdf", "t/sub"],
        empty_files=["a.txt", "b.txt"],
        invalid_bytes={"c.txt": 1, "d.txt": 2},
        documents=9_000,
        characters=1_000_000,
        empty_documents=1,
        cuts=2,
        duplicates=3,
        unjudged=4,
        foreign=5,
    )
    assert report.describe() == [
        "read 9,000 documents with 1,000,000 characters: 3 files",
        "passed over 2 entries of folders: t/e.pdf, t/sub",
        "2 files are empty: a.txt, b.txt",
        "replaced 1 bytes that are not UTF-8 in c.txt",
        "replaced 2 bytes that are not UTF-8 in d.txt",
        "dropped 1 rows without text",
        "cut overlong documents in 2 places",
        "dropped 3 documents that had come before",
        "5 documents do not look like the language: kept",
        "4 documents are too short to judge their language: kept",
    ]
    report.foreign_dropped = 5
    assert "5 documents do not look like the language: dropped 5" in report.describe()


def test_of_many_names_the_first_ones_are_shown():
    names = [f"{i:02}.pdf" for i in range(12)]
    assert TextReport(files=1, passed_over=names).describe()[1] == (
        f"passed over 12 entries of folders: {', '.join(names[:10])}, …"
    )
