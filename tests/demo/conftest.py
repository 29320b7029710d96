"""A page in this process: with stand-ins for the models, or with the tiny ones."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest

from distill.answering.answerer import QuestionAnswerer
from distill.demo.contest import Contest, Contestant
from distill.demo.server import DemoServer

EXAMPLE = {"question": "¿Dónde nació Ana?", "context": "Ana nació en Jaén 🚢 y murió en Ávila."}


class Echo:
    """Answers with the last word of the context, or raises what it was given."""

    num_parameters = 1_243_522
    settings = SimpleNamespace(temperature=1.0)

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error

    def __call__(self, question: str, context: str) -> dict[str, Any]:
        if self.error is not None:
            raise self.error
        start = context.rfind(" ") + 1
        return {"score": 0.75, "start": start, "end": len(context), "answer": context[start:]}


@contextmanager
def serving(*answerers: Any, **options: Any) -> Iterator[DemoServer]:
    """Serve the page for the block."""
    roles = ("teacher", "student")
    contest = Contest([Contestant(role, each) for role, each in zip(roles, answerers, strict=False)])
    with DemoServer(contest, examples=[EXAMPLE], **options) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


class Client:
    """Speaks to a page as a browser does."""

    def __init__(self, server: DemoServer) -> None:
        self.port = server.server_port

    def request(
        self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> http.client.HTTPResponse:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request(method, path, body, headers or {})
            response = connection.getresponse()
            response.content = response.read()
            return response
        finally:
            connection.close()

    def get(self, path: str, **headers: str) -> http.client.HTTPResponse:
        return self.request("GET", path, headers=headers)

    def ask(self, value: Any, **headers: str) -> http.client.HTTPResponse:
        body = value if isinstance(value, bytes) else json.dumps(value).encode()
        return self.request("POST", "/api/answers", body, {"Content-Type": "application/json", **headers})


@pytest.fixture
def client() -> Iterator[Client]:
    """A page of two stand-ins."""
    with serving(Echo(), Echo()) as server:
        yield Client(server)


@pytest.fixture(scope="session")
def tiny(teacher_folder) -> QuestionAnswerer:
    """The tiny model."""
    return QuestionAnswerer.from_pretrained(str(teacher_folder), no_answer_threshold=None)
