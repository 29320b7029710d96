"""The page as a person meets it, in a real browser."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from distill.demo.requests import Limits
from tests.demo.browser import CHROMIUM, Browser
from tests.demo.conftest import EXAMPLE, Echo, serving

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine")

ROOT = Path(__file__).parents[2]

#: Whether the latest question has been answered, one way or the other.
DONE = "!find('ask').disabled && (!find('results').hidden || find('message').textContent !== '')"


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with Browser(tmp_path_factory.mktemp("profile")) as browser:
        yield browser


@pytest.fixture
def page(browser, request):
    """The page of two stand-ins, opened."""
    with serving(Echo(), Echo(), limits=Limits(question_chars=60, context_chars=200)) as server:
        browser.messages.clear()
        open_page(browser, server)
        yield browser


def open_page(browser, server, **window):
    open_address(browser, f"http://127.0.0.1:{server.server_port}/", **window)


def open_address(browser, address, **window):
    browser.open(address, **window)
    browser.wait("description.models.length > 0 && find('context-count').textContent !== ''")


def texts(browser, selector):
    return browser.run(f"[...document.querySelectorAll('{selector}')].map(each => each.textContent)")


def ask(browser, question, context):
    browser.write("#question", question)
    browser.write("#context", context)
    browser.click("#ask")
    browser.wait(DONE)


def test_asking_shows_two_answers_in_their_place_with_two_scores_and_two_times(page):
    ask(page, "¿Dónde murió Ana?", "Ana 🚢 nació en Jaén y murió en Ávila.")
    assert texts(page, ".card .name") == ["Profesor", "Alumno"]
    assert texts(page, ".card .answer") == ["Ávila."] * 2
    assert texts(page, ".card mark") == ["Ávila."] * 2
    assert texts(page, ".card .context") == ["Ana 🚢 nació en Jaén y murió en Ávila."] * 2
    assert texts(page, ".card .score") == ["75,0 %"] * 2
    assert all(text.endswith(" ms") for text in texts(page, ".card .time"))
    assert texts(page, ".card .size") == ["1.243.522 parámetros"] * 2
    (verdict,) = texts(page, ".verdict")
    assert re.fullmatch(r"Responden lo mismo; .*(lo mismo|veces más (rápido|lento))\.", verdict)
    assert page.messages == []


def test_an_example_fills_the_form_and_is_answered(page):
    assert texts(page, ".example") == [EXAMPLE["question"]]
    page.click(".example")
    page.wait(DONE)
    assert page.run("find('question').value") == EXAMPLE["question"]
    assert texts(page, ".card .answer") == ["Ávila."] * 2


@pytest.mark.parametrize(
    ("question", "context", "message"),
    [
        ("¿Quién?", "x" * 201, "El texto es demasiado largo: caben 200 caracteres. Acórtalo."),
        ("¿Quién" + "?" * 60, "Ana.", "La pregunta es demasiado larga: caben 60 caracteres. Acórtala."),
        ("  ", "Ana.", "Escribe una pregunta."),
        ("¿Quién?", "\n", "Escribe o pega un texto."),
    ],
)
def test_too_long_or_empty_an_input_gives_a_friendly_message_and_no_answer(page, question, context, message):
    ask(page, question, context)
    assert texts(page, "#message") == [message]
    assert page.run("find('results').hidden")
    assert page.messages == []
    ask(page, "¿Quién?", "x" * 200)
    assert texts(page, "#message") == [""]
    assert len(texts(page, ".card")) == 2


def test_what_people_write_is_shown_and_never_run(page):
    ask(page, "<b>¿Quién?</b>", "<img src=x onerror=alert(1)> </p><script>alert(2)</script>")
    assert texts(page, ".card .context")[0] == "<img src=x onerror=alert(1)> </p><script>alert(2)</script>"
    assert page.run("document.querySelectorAll('.card img, .card script, .card b').length") == 0
    assert page.messages == []


@pytest.mark.parametrize(
    ("teacher", "student", "said"),
    [
        (12.0, 3.0, "el alumno es 4,0 veces más rápido"),
        (3.0, 4.5, "el alumno es 1,5 veces más lento"),
        (3.0, 3.1, "tardan lo mismo"),
    ],
)
def test_the_faster_one_is_named(page, teacher, student, said):
    answers = [{"start": 0, "end": 3, "milliseconds": teacher}, {"start": 0, "end": 2, "milliseconds": student}]
    assert page.run(f"verdict({json.dumps(answers)})") == f"Responden distinto; {said}."


def test_no_answer_is_said_in_words(browser):
    class Silent(Echo):
        def __call__(self, question, context):
            return {"score": 0.5, "start": 0, "end": 0, "answer": ""}

    with serving(Silent(), Silent()) as server:
        open_page(browser, server)
        ask(browser, "¿Quién?", "Nadie.")
        assert texts(browser, ".answer") == ["El texto no lo dice"] * 2
        assert texts(browser, ".card .context") == ["Nadie."] * 2
        assert browser.run("document.querySelectorAll('mark').length") == 0


def test_a_server_that_has_gone_is_said_in_words(browser):
    with serving(Echo(), Echo()) as server:
        open_page(browser, server)
        with browser.offline():
            ask(browser, "¿Quién?", "Ana.")
        assert texts(browser, "#message") == ["No hay conexión con el servidor. ¿Sigue en marcha?"]


@pytest.mark.parametrize("width", [360, 768, 1280])
@pytest.mark.parametrize("dark", [False, True])
def test_the_page_fits_phones_and_desks(browser, width, dark):
    with serving(Echo(), Echo()) as server:
        open_page(browser, server, width=width, dark=dark)
        ask(browser, "¿Dónde?", "Ana nació en " + "palabralarguísima" * 20)
        assert browser.run("document.documentElement.scrollWidth") <= width
        left, right = browser.run(
            "[...document.querySelectorAll('.card')].map(each => each.getBoundingClientRect().top)"
        )
        assert (left == right) == (width > 700)


def test_the_readmes_command_serves_the_embedded_models(browser, tmp_path):
    line = re.search(r"`python (train\.py demo)`", (ROOT / "README.md").read_text(encoding="utf-8"))
    script, command = line[1].split()
    server = subprocess.Popen(
        [sys.executable, str(ROOT / script), command, "--port=0"], cwd=tmp_path, stderr=subprocess.PIPE, text=True
    )
    try:
        said = next(line for line in server.stderr if line.startswith("http://"))
        browser.messages.clear()
        open_address(browser, said.split()[0])
        browser.click("#ask")
        browser.wait(DONE)
        assert all(texts(browser, ".answer"))
        assert len(texts(browser, ".answer")) == 2
        assert len([time for time in texts(browser, ".time") if re.fullmatch(r"[\d.]+(,\d)? ms", time)]) == 2
        browser.run("fields.context.value = 'palabra '.repeat(10000)")
        browser.click("#ask")
        browser.wait(DONE)
        assert texts(browser, "#message") == ["El texto es demasiado largo: caben 20.000 caracteres. Acórtalo."]
        assert browser.messages == []
    finally:
        server.terminate()
        server.wait(60)
        server.stderr.close()
