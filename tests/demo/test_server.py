import http.client
import json
import random
import socket
import threading
from collections import Counter

import pytest

from distill.demo import server as server_module
from distill.demo.gate import Gate
from distill.demo.requests import Limits
from tests.demo.conftest import EXAMPLE, Client, Echo, serving

#: What no answer may hold: where the code lies, and what it is written in.
LEAKS = ("Traceback", ".py", "distill/", "/tmp", "/home", "site-packages", "Python", "Error")


def refused(response):
    """Return status and message of a refusal, checked to be friendly JSON."""
    assert response.getheader("Content-Type") == "application/json; charset=utf-8"
    (message,) = json.loads(response.content).values()
    assert not any(leak in message for leak in LEAKS)
    return response.status, message


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/", "text/html; charset=utf-8"),
        ("/?x=1", "text/html; charset=utf-8"),
        ("/style.css", "text/css; charset=utf-8"),
        ("/script.js", "text/javascript; charset=utf-8"),
        ("/icon.svg", "image/svg+xml"),
        ("/api/description", "application/json; charset=utf-8"),
    ],
)
def test_the_page_and_its_parts_are_served_under_a_strict_policy(client, path, kind):
    response = client.get(path)
    assert response.status == 200
    assert response.getheader("Content-Type") == kind
    policy = response.getheader("Content-Security-Policy")
    assert policy.startswith("default-src 'none'")
    assert "unsafe" not in policy
    assert response.getheader("X-Content-Type-Options") == "nosniff"
    assert response.getheader("Server").startswith("distill")
    assert "Python" not in response.getheader("Server")
    assert len(response.content) == int(response.getheader("Content-Length"))


def test_the_page_holds_no_inline_script_or_style(client):
    page = client.get("/").content.decode()
    assert "<script>" not in page
    assert "style=" not in page
    assert " on" not in "".join(part.split(">")[0] for part in page.split("<")[1:] if part.startswith("button"))
    script = client.get("/script.js").content.decode()
    for way in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("):
        assert way not in script


def test_head_gives_headers_alone(client):
    response = client.request("HEAD", "/")
    assert response.status == 200
    assert response.content == b""
    assert int(response.getheader("Content-Length")) > 0


def test_description_names_models_limits_and_examples(client):
    description = json.loads(client.get("/api/description").content)
    assert [model["role"] for model in description["models"]] == ["teacher", "student"]
    assert description["limits"] == {"question": 300, "context": 20_000}
    assert description["examples"] == [EXAMPLE]


def test_a_question_is_answered_by_both(client):
    answers = json.loads(client.ask(EXAMPLE).content)["answers"]
    assert [answer["role"] for answer in answers] == ["teacher", "student"]
    for answer in answers:
        assert answer["answer"] == "Ávila." == EXAMPLE["context"][answer["start"] : answer["end"]]
        assert answer["milliseconds"] > 0


def test_connections_are_kept_between_questions(client):
    connection = http.client.HTTPConnection("127.0.0.1", client.port, timeout=60)
    for _ in range(3):
        body = json.dumps(EXAMPLE)
        connection.request("POST", "/api/answers", body, {"Content-Type": "application/json"})
        assert connection.getresponse().read().startswith(b'{"answers"')
    connection.request("GET", "/nowhere")
    assert connection.getresponse().read()
    connection.request("GET", "/")
    assert connection.getresponse().status == 200
    connection.close()


def test_too_long_a_text_gives_a_friendly_message(client):
    status, message = refused(client.ask({**EXAMPLE, "context": "x" * 20_001}))
    assert (status, message) == (413, "El texto es demasiado largo: caben 20.000 caracteres. Acórtalo.")
    status, message = refused(client.ask(b"x" * 400_000))
    assert (status, message) == (413, "El texto es demasiado largo. Acórtalo e inténtalo de nuevo.")


@pytest.mark.parametrize(
    ("method", "path", "headers", "body", "status"),
    [
        ("GET", "/../server.py", {}, None, 404),
        ("GET", "/%2e%2e/server.py", {}, None, 404),
        ("GET", "//etc/passwd", {}, None, 404),
        ("GET", "/page/index.html", {}, None, 404),
        ("GET", "/api/answers", {}, None, 404),
        ("DELETE", "/", {}, None, 405),
        ("PUT", "/api/answers", {"Content-Type": "application/json"}, b"{}", 405),
        ("POST", "/", {"Content-Type": "application/json"}, b"{}", 404),
        ("POST", "/api/answers", {"Content-Type": "text/plain"}, json.dumps(EXAMPLE).encode(), 415),
        ("POST", "/api/answers", {"Content-Type": "application/json", "Content-Length": "-1"}, b"", 400),
        ("POST", "/api/answers", {"Content-Type": "application/json", "Content-Length": "²"}, b"", 400),
        ("POST", "/api/answers", {"Transfer-Encoding": "chunked", "Content-Length": "3"}, b"abc", 400),
        ("GET", "/", {"Host": "evil.example"}, None, 403),
        ("GET", "/", {"Host": "[::1"}, None, 400),
        ("GET", "/", {"Origin": "https://evil.example"}, None, 403),
        ("POST", "/api/answers", {"Origin": "null", "Content-Type": "application/json"}, b"{}", 403),
    ],
)
def test_wrong_requests_are_refused_in_spanish(client, method, path, headers, body, status):
    encoded = {name: value.encode() for name, value in headers.items()}
    found, message = refused(client.request(method, path, body, encoded))
    assert found == status
    assert message.endswith(".")


def test_a_page_under_another_name_is_not_served_but_its_own_origin_is(client):
    own = f"http://localhost:{client.port}"
    assert client.get("/", Host=f"localhost:{client.port}", Origin=own).status == 200
    assert client.ask(EXAMPLE, Host=f"localhost:{client.port}", Origin=own).status == 200
    assert client.ask(EXAMPLE, Host=f"localhost:{client.port}", Origin="http://localhost:1").status == 403


def test_what_fails_inside_is_logged_and_not_told(caplog):
    error = RuntimeError("/home/ana/secret/model.safetensors is broken")
    with serving(Echo(), Echo(error)) as server:
        response = Client(server).ask(EXAMPLE)
        assert refused(response) == (500, "Algo ha fallado al responder. Inténtalo de nuevo.")
        assert b"secret" not in response.content
        assert Client(server).get("/").status == 200
    assert "secret" in caplog.text


def test_a_server_that_has_no_room_says_so():
    started, end = threading.Event(), threading.Event()

    class Slow(Echo):
        def __call__(self, question, context):
            started.set()
            end.wait()
            return super().__call__(question, context)

    with serving(Slow(), gate=Gate(max_waiting=1)) as server:
        client, results = Client(server), []
        first = threading.Thread(target=lambda: results.append(client.ask(EXAMPLE).status))
        first.start()
        started.wait()
        message = "Hay demasiadas preguntas a la vez. Inténtalo de nuevo en unos segundos."
        assert refused(client.ask(EXAMPLE)) == (503, message)
        assert client.get("/").status == 200
        end.set()
        first.join()
        assert results == [200]


def test_fifty_questions_at_once_are_all_answered(tiny):
    with serving(tiny, tiny) as server:
        client, answers = Client(server), [None] * 50

        def run(index):
            response = client.ask({**EXAMPLE, "question": f"¿Dónde nació {index}?"})
            answers[index] = (response.status, json.loads(response.content))

        threads = [threading.Thread(target=run, args=(index,)) for index in range(50)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert [status for status, _ in answers] == [200] * 50
    for _, content in answers:
        teacher, student = content["answers"]
        assert teacher["answer"] == student["answer"]
        assert teacher["answer"] == EXAMPLE["context"][teacher["start"] : teacher["end"]]


def malformed(generator):
    """Return a request that no browser would send."""
    head = b"POST /api/answers HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    body = json.dumps(EXAMPLE).encode()
    noise = generator.randbytes(generator.randrange(1, 300))
    return generator.choice(
        [
            noise + b"\r\n\r\n",
            b"GET\r\n\r\n",
            b"GET / HTTP/9.9\r\n\r\n",
            b"GET / FTP/1.1\r\n\r\n",
            b"G\x00T / HTTP/1.1\r\n\r\n",
            b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\n\r\n",
            b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 200 + b"\r\n",
            b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: " + b"y" * 70_000 + b"\r\n\r\n",
            b"GET / HTTP/1.1\r\n\r\n",
            b"GET http://evil.example/ HTTP/1.1\r\nHost: evil.example\r\n\r\n",
            head + b"\r\n",
            head + b"Content-Length: x\r\n\r\n" + body,
            head + b"Content-Length: 999999999999\r\n\r\n" + body,
            head + b"Content-Length: 5\r\n\r\n" + body,
            head + b"Content-Length: %d\r\n\r\n" % len(noise) + noise,
            head + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
            head + b"Content-Length: 12\r\n\r\n" + b'{"question":',
            head + b"Content-Length: 2\r\n\r\n[]",
        ]
    )


def test_two_hundred_malformed_requests_leave_the_server_well(tiny, capfd, caplog):
    generator = random.Random(0)
    replies = []

    def send(request):
        with socket.create_connection(("127.0.0.1", server.server_port), timeout=60) as connection:
            try:
                connection.sendall(request)
                connection.shutdown(socket.SHUT_WR)
                received = b""
                while piece := connection.recv(65_536):
                    received += piece
            except ConnectionError:
                received = b"HTTP/1.1 000 closed"
            replies.append(received)

    with serving(tiny, tiny) as server:
        requests = [malformed(generator) for _ in range(200)]
        for first in range(0, 200, 20):
            threads = [threading.Thread(target=send, args=(request,)) for request in requests[first : first + 20]]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        assert Client(server).ask(EXAMPLE).status == 200
    assert len(replies) == 200
    statuses = Counter(reply.split(b" ")[1].decode() for reply in replies if reply)
    assert set(statuses) <= {"400", "403", "404", "405", "411", "413", "414", "431", "505", "000"}
    assert statuses["000"] < 60
    assert statuses["400"] > 20
    for reply in replies:
        assert not any(leak.encode() in reply for leak in LEAKS)
    assert "Traceback" not in capfd.readouterr().err
    assert not caplog.records or all(record.levelname == "DEBUG" for record in caplog.records)


def test_connections_beyond_the_limit_are_closed():
    with serving(Echo(), max_connections=2) as server:
        held = [socket.create_connection(("127.0.0.1", server.server_port), timeout=60) for _ in range(2)]
        for connection in held:
            connection.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            assert connection.recv(10) == b"HTTP/1.1 2"
        with socket.create_connection(("127.0.0.1", server.server_port), timeout=60) as refused_one:
            assert refused_one.recv(10) == b""
        for connection in held:
            connection.close()


def test_a_client_that_says_nothing_is_let_go(monkeypatch):
    monkeypatch.setattr(server_module.DemoHandler, "timeout", 0.05)
    with serving(Echo()) as server, socket.create_connection(("127.0.0.1", server.server_port), timeout=60) as silent:
        silent.sendall(b"POST /api/answers HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 10\r\n\r\n")
        reply = silent.recv(65_536)
    assert reply.startswith(b"HTTP/1.1 408 ")


def test_limits_can_be_changed():
    with serving(Echo(), limits=Limits(question_chars=5)) as server:
        assert (
            refused(Client(server).ask(EXAMPLE))[1] == "La pregunta es demasiado larga: caben 5 caracteres. Acórtala."
        )
