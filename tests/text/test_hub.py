import json

import pytest

from distill.text import hub, reading
from distill.text.hub import HubSource
from distill.text.report import TextReport
from distill.types import UserError


@pytest.fixture
def folder(tmp_path):
    """A local folder that ``datasets`` reads like a set of the hub."""
    folder = tmp_path / "set"
    folder.mkdir()
    rows = [{"text": " uno ", "body": "A"}, {"text": "", "body": "B"}, {"text": "dos", "body": "C"}]
    (folder / "train.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return folder


def test_documents_are_streamed_and_counted(folder):
    report = TextReport()
    assert list(HubSource(str(folder)).documents(report)) == ["uno", "dos"]
    assert (report.files, report.documents, report.characters, report.empty_documents) == (1, 2, 6, 1)
    assert list(HubSource(str(folder), text_field="body").documents(TextReport())) == ["A", "B", "C"]


def test_overlong_rows_are_cut(folder, monkeypatch):
    monkeypatch.setattr(reading, "MAX_DOCUMENT_CHARS", 2)
    report = TextReport()
    assert list(HubSource(str(folder)).documents(report)) == ["un", "o", "do", "s"]
    assert report.cuts == 2


def test_missing_column_is_named(folder):
    with pytest.raises(UserError, match=r"row 0: no field 'inhalt' among 'text', 'body'; set text_field"):
        list(HubSource(str(folder), text_field="inhalt").documents(TextReport()))


def test_folder_without_text_is_an_error(folder):
    (folder / "train.jsonl").write_text('{"text": ""}', encoding="utf-8")
    with pytest.raises(UserError, match="no text in the column 'text'"):
        list(HubSource(str(folder)).documents(TextReport()))


def test_fingerprint_follows_contents_column_and_commit(folder, monkeypatch):
    source = HubSource(str(folder))
    before = source.fingerprint()
    assert before == HubSource(str(folder)).fingerprint()
    assert before != HubSource(str(folder), text_field="body").fingerprint()
    (folder / "train.jsonl").write_text('{"text": "tres"}', encoding="utf-8")
    assert source.fingerprint() != before

    class Info:
        sha = "a" * 40

    monkeypatch.setattr(hub.HfApi, "dataset_info", lambda *_, **__: Info())
    newest = HubSource("org/text").fingerprint()
    assert newest == HubSource("org/text", revision="a" * 40).fingerprint()
    Info.sha = "b" * 40
    assert HubSource("org/text").fingerprint() != newest


def test_unreachable_hub_names_the_way_out():
    for attempt in (HubSource("org/text").fingerprint, lambda: list(HubSource("org/text").documents(TextReport()))):
        with pytest.raises(UserError, match=r"org/text: cannot be loaded, no hub reachable .*use train_files"):
            attempt()
    with pytest.raises(UserError, match="org/text es: cannot be loaded"):
        list(HubSource("org/text", "es", revision="a" * 40).documents(TextReport()))
