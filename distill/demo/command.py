"""``demo``: teacher and student side by side on a page of this machine."""

from __future__ import annotations

import webbrowser
from pathlib import Path

from rich.console import Console

from distill.answering.answerer import QuestionAnswerer
from distill.answering.backends import BackendName
from distill.demo.contest import Contest, Contestant
from distill.demo.examples import embedded_examples
from distill.demo.server import DemoServer
from distill.models.loading import EMBEDDED, EMBEDDED_STUDENT
from distill.types import UserError

#: Where runs leave their students, seen from the folder in which the command runs.
_STUDENTS = "lightning_logs/*/version_*/student"


def demo(
    student: str | None = None,
    teacher: str = EMBEDDED,
    host: str = "127.0.0.1",
    port: int = 8765,
    backend: BackendName = "torch",
    dtype: str | None = None,
    open_browser: bool = False,
) -> None:
    """Show teacher and student answering the same question, on a page of this machine.

    Args:
        student: Folder or hub name of the student; when left out the newest run's under lightning_logs, and where there
            is none ``embedded_student``, which the package carries.
        teacher: Folder or hub name of the teacher; ``embedded`` is the one that the package carries.
        host: Address to listen on; only this machine can reach the default.
        port: Port to listen on; 0 for any free one.
        backend: What runs the student: ``torch``, or ``onnx`` for a folder that ``export`` wrote.
        dtype: Precision of the student; float32 when left out.
        open_browser: Whether to open the page in the browser.

    Raises:
        UserError: If a model cannot be loaded, or the address cannot be listened on.
    """
    console = Console(stderr=True, markup=False, highlight=False, soft_wrap=True)
    chosen = student or newest_student(Path()) or EMBEDDED_STUDENT
    console.print(f"student: {chosen}")
    contest = Contest(
        [
            Contestant("teacher", QuestionAnswerer.from_pretrained(teacher)),
            Contestant("student", QuestionAnswerer.from_pretrained(chosen, backend, dtype)),
        ]
    )
    examples = embedded_examples()
    contest.ask(**examples[0])  # the first call of a model is slower than all others
    try:
        server = DemoServer(contest, host, port, examples)
    except (OSError, OverflowError) as error:
        raise UserError(f"--host {host} --port {port}: cannot be listened on: {error}") from None
    with server:
        name = f"[{host}]" if ":" in host else host
        address = f"http://{name}:{server.server_port}/"
        console.print(f"{address} (Ctrl-C ends it)")
        if open_browser:
            webbrowser.open(address)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            console.print("ended")


def newest_student(root: Path) -> str | None:
    """Return the folder of the student that was written last by a run under ``root``, None where there is none."""
    folders = [folder for folder in root.glob(_STUDENTS) if (folder / "config.json").is_file()]
    newest = max(folders, key=lambda folder: (folder / "config.json").stat().st_mtime, default=None)
    return None if newest is None else str(newest)
