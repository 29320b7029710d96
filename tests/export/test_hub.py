"""Pushing, against a local stand-in for the hub's HTTP interface."""

import base64
import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import huggingface_hub.constants
import pytest

from distill.export.hub import check_repository, push_folder
from distill.types import UserError


class Hub(BaseHTTPRequestHandler):
    """Knows one account; its repositories and their files are on the server object."""

    def log_message(self, *_):
        pass

    def answer(self, status, value):
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        if status == 404:
            self.send_header("X-Error-Code", "RepoNotFound")
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        repository = self.path.partition("?")[0].removeprefix("/api/models/").partition("/revision/")[0]
        known = self.server.repositories.get(repository)
        if known is None:
            self.answer(404, {"error": "Repository not found"})
        else:
            self.answer(200, {"id": repository, "private": known["private"], "sha": "0" * 40, "siblings": []})

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.headers.get("Authorization") != "Bearer hf_right":
            self.answer(401, {"error": "Invalid credentials"})
        elif self.path == "/api/repos/create":
            wish = json.loads(body)
            name = f"{wish['organization']}/{wish['name']}"
            self.server.repositories.setdefault(
                name, {"private": wish.get("visibility") == "private", "files": {}, "commits": 0}
            )
            self.answer(200, {"url": f"{self.server.url}/{name}"})
        elif "/preupload/" in self.path:
            files = [
                {"path": file["path"], "uploadMode": "regular", "shouldIgnore": False}
                for file in json.loads(body)["files"]
            ]
            self.answer(200, {"files": files})
        elif "/commit/" in self.path:
            name = self.path.removeprefix("/api/models/").partition("/commit/")[0]
            repository = self.server.repositories[name]
            for line in body.splitlines():
                entry = json.loads(line)
                if entry["key"] == "file":
                    repository["files"][entry["value"]["path"]] = base64.b64decode(entry["value"]["content"])
            repository["commits"] += 1
            self.answer(200, {"commitUrl": f"{self.server.url}/{name}/commit/{'1' * 40}", "commitOid": "1" * 40})
        else:
            self.answer(200, {})


@pytest.fixture
def hub(monkeypatch):
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    server.repositories = {}
    server.url = f"http://127.0.0.1:{server.server_port}"
    Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", server.url)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setenv("HF_TOKEN", "hf_right")
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "out" / "onnx").mkdir(parents=True)
    (tmp_path / "out" / "README.md").write_text("# Alumno", encoding="utf-8")
    (tmp_path / "out" / "onnx" / "model.onnx").write_bytes(b"graph")
    return tmp_path / "out"


def test_folder_arrives_whole_in_one_commit_of_a_private_repository(hub, folder):
    address = push_folder(folder, "ana/alumno")
    assert address == f"{hub.url}/ana/alumno"
    repository = hub.repositories["ana/alumno"]
    assert repository["private"] is True
    assert repository["commits"] == 1
    assert repository["files"] == {"README.md": b"# Alumno", "onnx/model.onnx": b"graph"}


def test_public_only_when_asked(hub, folder):
    push_folder(folder, "ana/alumno", private=False)
    assert hub.repositories["ana/alumno"]["private"] is False


def test_existing_public_repository_is_left_alone(hub, folder):
    hub.repositories["ana/alumno"] = {"private": False, "files": {}, "commits": 0}
    with pytest.raises(UserError, match=r"public already; say so with --private false"):
        push_folder(folder, "ana/alumno")
    assert hub.repositories["ana/alumno"]["commits"] == 0
    push_folder(folder, "ana/alumno", private=False)
    assert hub.repositories["ana/alumno"]["commits"] == 1


def test_refusal_is_one_line_that_says_what_is_safe(hub, folder, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    with pytest.raises(UserError, match=r"refused or cannot be reached: .*export itself is whole") as error_info:
        push_folder(folder, "ana/alumno")
    assert "\n" not in str(error_info.value)
    assert "hf_wrong" not in str(error_info.value)


def test_unreachable_hub_is_one_line(folder, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_right")
    with pytest.raises(UserError, match=r"cannot be reached") as error_info:
        push_folder(folder, "ana/alumno")  # the tests run offline
    assert "\n" not in str(error_info.value)


@pytest.mark.parametrize(
    ("repository", "message"),
    [
        ("alumno", "name the owner too, as in owner/alumno"),
        ("a/b/c", "a/b/c"),
        ("ana/--x", "ana/--x"),
        ("", "push_to_hub"),
    ],
)
def test_wrong_names_are_refused_without_the_network(repository, message, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_right")
    with pytest.raises(UserError, match=message):
        check_repository(repository)


def test_without_a_token_nobody_is_asked_for_one(monkeypatch, tmp_path):
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.delenv("HUGGING_FACE_HUB_TOKEN", raising=False)
    monkeypatch.setattr(huggingface_hub.constants, "HF_TOKEN_PATH", str(tmp_path / "none"))
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("somebody was asked"))
    with pytest.raises(UserError, match="set HF_TOKEN or run: hf auth login"):
        check_repository("ana/alumno")
