import json
import os
import threading

import pytest

from distill.cli import main
from distill.demo.command import newest_student
from distill.demo.server import DemoServer
from tests.demo.conftest import EXAMPLE, Client


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Return a function that runs the command, asks once and ends it; gives the description and the answers."""
    monkeypatch.chdir(tmp_path)

    serve_forever, found = DemoServer.serve_forever, []

    def serve_once(server):
        thread = threading.Thread(target=serve_forever, args=(server, 0.01))
        thread.start()
        client = Client(server)
        found.append(json.loads(client.get("/api/description").content))
        found.append(json.loads(client.ask(EXAMPLE).content)["answers"])
        server.shutdown()
        thread.join()
        raise KeyboardInterrupt

    def run_(*options):
        main(["demo", "--port=0", *options])
        return found

    monkeypatch.setattr(DemoServer, "serve_forever", serve_once)
    return run_


def test_teacher_and_student_answer(run, teacher_folder, capsys):
    description, answers = run(f"--teacher={teacher_folder}", f"--student={teacher_folder}")
    assert [answer["role"] for answer in answers] == ["teacher", "student"]
    assert answers[0]["answer"] == answers[1]["answer"]
    assert len(description["examples"]) == 6
    assert str(teacher_folder) not in json.dumps(description)
    assert "http://127.0.0.1:" in capsys.readouterr().err


def test_without_a_run_the_packages_student_answers(run, teacher_folder, capsys):
    description, answers = run(f"--teacher={teacher_folder}")
    assert [model["role"] for model in description["models"]] == ["teacher", "student"]
    assert description["models"][1]["num_parameters"] == 308_674
    assert len(answers) == 2
    assert "student: embedded_student" in capsys.readouterr().err


def test_the_newest_runs_student_is_taken(tmp_path):
    assert newest_student(tmp_path) is None
    for name, time in (("a/version_0", 300), ("a/version_1", 200), ("b/version_0", 100)):
        folder = tmp_path / "lightning_logs" / name / "student"
        folder.mkdir(parents=True)
        (folder / "config.json").write_text("{}", encoding="utf-8")
        os.utime(folder / "config.json", (time, time))
    (tmp_path / "lightning_logs" / "c" / "version_9" / "student").mkdir(parents=True)
    assert newest_student(tmp_path) == str(tmp_path / "lightning_logs" / "a" / "version_0" / "student")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--student=nowhere/at-all"], "nowhere/at-all: no folder or reachable hub model"),
        (["--host=203.0.113.1"], "--host 203.0.113.1 --port 0: cannot be listened on"),
        (["--port=99999"], "--port 99999: cannot be listened on"),
    ],
)
def test_what_cannot_be_is_said_in_one_line(tmp_path, teacher_folder, options, message, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as exit_info:
        main(["demo", f"--teacher={teacher_folder}", "--port=0", *options])
    assert exit_info.value.code == 1
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert last.startswith("error: ")
    assert message in last
