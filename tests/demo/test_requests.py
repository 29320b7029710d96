import json

import pytest

from distill.demo.refusals import Refusal
from distill.demo.requests import Limits, read_question

LIMITS = Limits(question_chars=10, context_chars=1500)


def body(**fields):
    return json.dumps({"question": "¿Quién?", "context": "Ana.", **fields}).encode()


def test_a_question_is_read():
    assert read_question(body(), LIMITS) == ("¿Quién?", "Ana.")
    assert read_question(body(context="🚢" * 1500), LIMITS)[1] == "🚢" * 1500


@pytest.mark.parametrize(
    ("raw", "status", "message"),
    [
        (body(question=""), 400, "Escribe una pregunta."),
        (body(question=" \n"), 400, "Escribe una pregunta."),
        (b"{}", 400, "Escribe una pregunta."),
        (body(context=""), 400, "Escribe o pega un texto."),
        (body(question="x" * 11), 413, "La pregunta es demasiado larga: caben 10 caracteres. Acórtala."),
        (body(context="x" * 1501), 413, "El texto es demasiado largo: caben 1.500 caracteres. Acórtalo."),
        (body(question=None), 400, "No se entiende la petición."),
        (body(context=["Ana."]), 400, "No se entiende la petición."),
        (body(context="\ud800"), 400, "No se entiende la petición."),
        (b"", 400, "No se entiende la petición."),
        (b"[]", 400, "No se entiende la petición."),
        (b"{", 400, "No se entiende la petición."),
        (b"\xff", 400, "No se entiende la petición."),
        (b"[" * 100_000, 400, "No se entiende la petición."),
        (b"1" * 5000, 400, "No se entiende la petición."),
    ],
)
def test_anything_else_is_refused_in_spanish(raw, status, message):
    with pytest.raises(Refusal) as reason:
        read_question(raw, LIMITS)
    assert (reason.value.status, reason.value.message) == (status, message)


def test_the_longest_question_fits_however_it_is_written():
    limits = Limits(question_chars=3, context_chars=7)
    longest = json.dumps({"question": "🚢" * 3, "context": "🚢" * 7}, ensure_ascii=True).encode()
    assert len(longest) <= limits.body_bytes
