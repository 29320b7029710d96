"""Facts and phrases of plain text."""

import numpy as np
import pytest

from distill.augmentation.facts import draw_phrases, find_facts, sentences

TEXT = (
    "La señora Ana Rúa nació en Jaén el 3 de mayo de 1902 y murió en Ávila en 1950, a los 48 años. Alfonso de la Torre "
    "vivió cerca. ¿Quién fue el rey que mandó escribir 427,5 cantigas a Juan de la Cueva en el año de 1301?"
)


def test_facts_by_kind():
    found = [(fact.kind, TEXT[slice(*fact.span)]) for fact in find_facts(TEXT, 6)]
    assert found == [
        ("name", "Ana Rúa"),
        ("name", "Jaén"),
        ("date", "3 de mayo de 1902"),
        ("name", "Ávila"),
        ("year", "1950"),
        ("number", "48"),
        ("number", "427,5"),
        ("name", "Juan de la Cueva"),
        ("number", "1301"),
    ]


def test_short_sentences_are_not_worth_a_question():
    assert not list(find_facts("Vino de Soria en 1901.", 6))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Vino. Se fue.", ["Vino.", "Se fue."]),
        ("Dijo: «Ven.» Y vino.", ["Dijo: «Ven.", "Y vino."]),
        ("Pesa 1.5 kg. más o menos", ["Pesa 1.5 kg. más o menos"]),
        ("Uno\nDos", ["Uno", "Dos"]),
        (" \n ", []),
    ],
)
def test_sentences(text, expected):
    assert [text[start:end] for start, end in sentences(text)] == expected


def test_phrases_are_what_stands_between_grammar_and_marks():
    text = "El rey de la villa, que era vieja y rica, mandó abrir el libro de oro. Vino de Soria en 1901."
    drawn = {fact for seed in range(300) for fact in draw_phrases(text, 6, np.random.default_rng(seed))}
    assert {fact.kind for fact in drawn} == {"phrase"}
    assert {fact.sentence for fact in drawn} == {(0, text.index(" Vino"))}
    assert {text[slice(*fact.span)] for fact in drawn} == {
        "El rey", "rey", "El rey de la villa", "rey de la villa", "la villa", "villa",
        "vieja", "vieja y rica", "rica",
        "mandó abrir", "mandó abrir el libro", "mandó abrir el libro de oro",
        "el libro", "libro", "el libro de oro", "libro de oro", "oro",
    }  # fmt: skip


def test_numbers_are_never_cut():
    text = "El pago de 1.200,50 pesos del año era de 60.000 monedas viejas con un interés anual del 16,4 % por ley."
    drawn = {fact for seed in range(300) for fact in draw_phrases(text, 6, np.random.default_rng(seed))}
    found = {text[slice(*fact.span)] for fact in drawn}
    assert {"1.200,50 pesos", "60.000 monedas viejas", "16,4"} <= found
    assert not {
        phrase for phrase in found if phrase[0].isdigit() and not phrase.startswith(("1.200,50", "60.000", "16,4"))
    }


def test_a_sentence_of_grammar_alone_has_no_phrase():
    assert not list(draw_phrases("Y de lo que era para con el por la que se.", 6, np.random.default_rng(0)))
