import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import huggingface_hub.constants
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


class Hub(BaseHTTPRequestHandler):
    """Says which commit is the newest, as often as its server object is asked and told to."""

    def log_message(self, *_):
        pass

    def do_GET(self):
        self.server.num_asked += 1
        body = json.dumps({"id": "org/text", "sha": self.server.commit, "siblings": []}).encode()
        self.send_response(self.server.status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        if self.server.status == 404:
            self.send_header("X-Error-Code", "RepoNotFound")
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def server(monkeypatch):
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    server.commit, server.status, server.num_asked = "a" * 40, 200, 0
    Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    yield server
    server.shutdown()
    server.server_close()


def test_commit_of_the_last_answer_holds_where_the_hub_cannot_be_reached(server, tmp_path, monkeypatch, caplog):
    def fingerprint(revision=None) -> str:
        return HubSource("org/text", revision=revision, cache_dir=tmp_path / "cache").fingerprint()

    first = fingerprint()
    assert "a" * 40 in first
    server.commit = "b" * 40
    newer = fingerprint()
    assert "b" * 40 in newer
    assert len(list((tmp_path / "cache").iterdir())) == 1
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with caplog.at_level("INFO"):
        assert fingerprint() == newer
    assert "org/text: no hub reachable (OfflineModeIsEnabled: " in caplog.text
    assert f"going on with commit {'b' * 40}" in caplog.text
    with pytest.raises(UserError, match="org/text: cannot be loaded"):
        fingerprint("other")
    with pytest.raises(UserError, match="org/text: cannot be loaded"):
        HubSource("org/text").fingerprint()


def test_hub_that_fails_is_not_reachable_and_one_that_refuses_is(server, tmp_path):
    def fingerprint() -> str:
        return HubSource("org/text", cache_dir=tmp_path / "cache").fingerprint()

    first = fingerprint()
    server.status = 500
    assert fingerprint() == first
    server.status = 404
    with pytest.raises(UserError, match="org/text: cannot be loaded"):
        fingerprint()


def test_damaged_record_of_a_commit_is_none(server, tmp_path, monkeypatch):
    HubSource("org/text", cache_dir=tmp_path / "cache").fingerprint()
    (record,) = (tmp_path / "cache").iterdir()
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    for content in ("", "[]", '{"commit": 3}', '{"commit": "abc"}'):
        record.write_text(content, encoding="utf-8")
        with pytest.raises(UserError, match="org/text: cannot be loaded"):
            HubSource("org/text", cache_dir=tmp_path / "cache").fingerprint()


def test_documents_are_those_of_the_commit_that_the_fingerprint_names(server, monkeypatch):
    source = HubSource("org/text")
    asked = []
    rows = [{"text": "uno"}]
    monkeypatch.setattr(hub.datasets, "load_dataset", lambda *_, revision, **__: asked.append(revision) or rows)
    assert "a" * 40 in source.fingerprint()
    server.commit = "b" * 40
    assert list(source.documents(TextReport())) == ["uno"]
    assert asked == ["a" * 40]
    assert server.num_asked == 1
