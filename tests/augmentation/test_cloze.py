"""Facts of plain text, and the questions that ask for them."""

import unicodedata

import pytest

from distill.augmentation.cloze import GAP, Cloze, sentences
from distill.augmentation.paragraphs import ParagraphReport, paragraphs

TEXT = (
    "La señora Ana Rúa nació en Jaén el 3 de mayo de 1902 y murió en Ávila en 1950, a los 48 años. Alfonso de la Torre "
    "vivió cerca. ¿Quién fue el rey que mandó escribir 427,5 cantigas a Juan de la Cueva en el año de 1301?"
)


def test_facts_by_kind():
    found = [(fact.kind, TEXT[slice(*fact.span)]) for fact in Cloze().facts(TEXT)]
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


def test_question_shows_the_sentence_around_the_gap():
    fact = next(fact for fact in Cloze().facts(TEXT) if fact.kind == "year")
    assert Cloze(num_words=4).question(TEXT, fact) == "¿Qué año falta aquí: «… murió en Ávila en _____, a los 48 …»?"


def test_question_shows_as_much_as_fits():
    fact = next(fact for fact in Cloze().facts(TEXT) if fact.kind == "year")
    whole = Cloze().question(TEXT, fact)
    assert Cloze().question(TEXT, fact, fits=lambda question: len(question) < len(whole)) != whole
    shorter = "¿Qué año falta aquí: «… murió en Ávila en _____, a los 48 …»?"
    assert Cloze().question(TEXT, fact, fits=lambda question: len(question) <= len(shorter)) == shorter
    assert Cloze().question(TEXT, fact, fits=lambda _: False) == "¿Qué año falta aquí: «… en _____, …»?"


def test_the_answer_is_not_in_its_question():
    text = "En la villa de Soria viven hoy 1234 personas muy amables."
    for fact in Cloze().facts(text):
        question = Cloze().question(text, fact)
        assert text[slice(*fact.span)] not in question
        assert GAP in question


def test_short_sentences_are_not_worth_a_question():
    assert not list(Cloze(min_words=6).facts("Vino de Soria en 1901."))


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


def test_paragraphs_are_joined_lines_of_the_right_length():
    report = ParagraphReport()
    document = "Uno dos\ntres.\n \nCorto.\n\n" + "Una frase larga. " * 10 + "\n\n" + "x" * 80
    found = list(paragraphs([document], min_chars=10, max_chars=60, report=report))
    assert found[0] == "Uno dos tres."
    assert found[1:] == ["Una frase larga. Una frase larga. Una frase larga."] * 3 + ["Una frase larga."]
    assert (report.too_short, report.too_long) == (1, 1)


def test_paragraphs_are_composed_so_that_names_keep_their_letters():
    document = unicodedata.normalize("NFD", "Ayer vino a la villa de Soria la hija de María Núñez.")
    [paragraph] = paragraphs([document], min_chars=10, max_chars=60, report=ParagraphReport())
    assert [paragraph[slice(*fact.span)] for fact in Cloze().facts(paragraph)] == ["Soria", "María Núñez"]
