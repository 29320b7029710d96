"""The page over HTTP: a few fixed files and one question, with limits on everything that comes in."""

from __future__ import annotations

import json
import logging
import socket
from collections.abc import Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import resources
from socketserver import TCPServer
from threading import BoundedSemaphore
from typing import Any
from urllib.parse import urlsplit

from distill.demo.contest import Contest
from distill.demo.gate import Gate
from distill.demo.refusals import Refusal, refusal
from distill.demo.requests import Limits, read_question

log = logging.getLogger(__name__)

#: Path to file and its type; nothing else is served from the disk.
PAGE = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/style.css": ("style.css", "text/css; charset=utf-8"),
    "/script.js": ("script.js", "text/javascript; charset=utf-8"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
}

#: Sent with everything: the page may load and call only what it came with, and nobody may frame or sniff it.
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}

#: Names by which a browser on this machine reaches a server on loopback; any other comes from a page elsewhere.
_LOOPBACK = ("127.0.0.1", "localhost", "::1")

#: Bytes of a request that is too large are read up to here, so that the client sees the answer and not a broken pipe.
_DRAINED_BYTES = 2**21


class DemoServer(ThreadingHTTPServer):
    """Serves the page.

    Args:
        contest: Answers questions.
        host: Address to listen on.
        port: Port to listen on; 0 for any free one.
        examples: Questions to begin with, each with ``question`` and ``context``.
        limits: The longest question.
        gate: Lets questions through to the models.
        max_connections: Connections at most; more are refused at once.
    """

    daemon_threads = True
    request_queue_size = 128

    def __init__(
        self,
        contest: Contest,
        host: str = "127.0.0.1",
        port: int = 0,
        examples: list[dict[str, str]] | None = None,
        limits: Limits | None = None,
        gate: Gate | None = None,
        max_connections: int = 128,
    ) -> None:
        self.contest = contest
        self.limits = limits or Limits()
        self.gate = gate or Gate()
        self.is_on_loopback = host in _LOOPBACK
        page = resources.files("distill.demo") / "page"
        self.files = {path: ((page / name).read_bytes(), kind) for path, (name, kind) in PAGE.items()}
        self.description = {
            "models": contest.describe(),
            "limits": {"question": self.limits.question_chars, "context": self.limits.context_chars},
            "examples": examples or [],
        }
        self._connections = BoundedSemaphore(max_connections)
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        super().__init__((host, port), DemoHandler)

    def server_bind(self) -> None:
        """Bind without asking the network for this machine's name, as the library would."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])

    def process_request(self, request: Any, client_address: Any) -> None:
        """Serve a connection in a thread of its own, or close it where there are too many."""
        if not self._connections.acquire(blocking=False):
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Serve a connection and give its place back."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._connections.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Log what went wrong with a connection, such as a client that hung up."""
        log.debug("connection broke off", exc_info=True)

    def server_close(self) -> None:
        """Stop listening and let the models finish."""
        super().server_close()
        self.gate.close()


class DemoHandler(BaseHTTPRequestHandler):
    """One connection. Whatever goes wrong, the client gets a status and one sentence in Spanish."""

    server: DemoServer
    protocol_version = "HTTP/1.1"
    timeout = 15  # seconds of silence before a connection is closed

    def do_GET(self) -> None:
        """Serve a file of the page, or what it needs to know."""
        self._serve(self._get)

    def do_HEAD(self) -> None:
        """Serve the headers of a file."""
        self._serve(self._get)

    def do_POST(self) -> None:
        """Answer a question."""
        self._serve(self._post)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Answer what the library refuses by itself, without repeating what the client sent."""
        known = {501: HTTPStatus.METHOD_NOT_ALLOWED}  # a method that this class does not have
        status = known.get(code) or HTTPStatus(code)
        self.close_connection = True
        self.request_version = self.protocol_version  # else what has no version would get no status
        self._send_refusal(refusal(status))

    def version_string(self) -> str:
        """Return no more than the name of the project."""
        return "distill"

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the library's name
        """Log a request where someone listens, not on the terminal."""
        log.debug(format, *args)

    def _serve(self, respond: Any) -> None:
        try:
            self._check_where_it_comes_from()
            respond()
        except Refusal as reason:
            self._send_refusal(reason)
        except TimeoutError:
            self.close_connection = True
            self._send_refusal(refusal(HTTPStatus.REQUEST_TIMEOUT))
        except ConnectionError:
            self.close_connection = True  # nobody is there to hear
        except Exception:  # the last resort: the client learns that it failed, the log why
            log.exception("a request failed")
            self.close_connection = True
            self._send_refusal(refusal(HTTPStatus.INTERNAL_SERVER_ERROR))

    def _get(self) -> None:
        path = urlsplit(self.path).path
        if path == "/api/description":
            self._send_json(HTTPStatus.OK, self.server.description)
        elif path in self.server.files:
            content, kind = self.server.files[path]
            self._send(HTTPStatus.OK, content, kind)
        else:
            raise refusal(HTTPStatus.NOT_FOUND)

    def _post(self) -> None:
        body = self._read_body()
        if urlsplit(self.path).path != "/api/answers":
            raise refusal(HTTPStatus.NOT_FOUND)
        if self.headers.get_content_type() != "application/json":
            raise refusal(HTTPStatus.UNSUPPORTED_MEDIA_TYPE)
        question, context = read_question(body, self.server.limits)
        answers = self.server.gate.run(lambda: self.server.contest.ask(question, context))
        self._send_json(HTTPStatus.OK, {"answers": answers})

    def _read_body(self) -> bytes:
        length = self.headers.get("Content-Length")
        if length is None:
            self.close_connection = True  # a body of unknown length may follow
            raise refusal(HTTPStatus.LENGTH_REQUIRED)
        if not (length.isascii() and length.isdigit() and len(length) < 16) or "Transfer-Encoding" in self.headers:
            self.close_connection = True
            raise refusal(HTTPStatus.BAD_REQUEST)
        if int(length) > self.server.limits.body_bytes:
            self.close_connection = True
            self._drain(min(int(length), _DRAINED_BYTES))
            raise refusal(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        body = self.rfile.read(int(length))
        if len(body) < int(length):
            raise ConnectionError("the client hung up")
        return body

    def _drain(self, num_bytes: int) -> None:
        while num_bytes > 0 and (piece := self.rfile.read(min(num_bytes, 2**16))):
            num_bytes -= len(piece)

    def _check_where_it_comes_from(self) -> None:
        """Refuse what another site sends through the visitor's browser, also under a name that points here."""
        host = self.headers.get("Host", "")
        try:
            name = urlsplit(f"//{host}").hostname
            origin = urlsplit(self.headers.get("Origin", "")).netloc
        except ValueError:
            raise refusal(HTTPStatus.BAD_REQUEST) from None
        is_foreign_name = self.server.is_on_loopback and name not in _LOOPBACK
        if is_foreign_name or (origin and origin != host) or self.headers.get("Origin") == "null":
            self.close_connection = True
            raise refusal(HTTPStatus.FORBIDDEN)

    def _send_refusal(self, reason: Refusal) -> None:
        try:
            self._send_json(reason.status, {"error": reason.message})
        except ConnectionError:
            self.close_connection = True

    def _send_json(self, status: HTTPStatus, value: Mapping[str, Any]) -> None:
        content = json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
        self._send(status, content, "application/json; charset=utf-8")

    def _send(self, status: HTTPStatus, content: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        if self.close_connection:
            self.send_header("Connection", "close")
        for name, value in HEADERS.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)
