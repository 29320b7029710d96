"""Questions grouped by what they ask for and by how long their answer is."""

from __future__ import annotations

import unicodedata

import pytest

from distill.tasks.question_answering.breakdown import OTHER, answer_length, breakdowns, question_word
from distill.types import Answer, Example


@pytest.mark.parametrize(
    ("question", "word"),
    [
        ("¿Qué río pasa por Lérida?", "qué"),
        ("¿En qué año nació?", "qué"),
        ("¿Por qué se cerró?", "por qué"),
        ("¿A quiénes se lo vendió?", "quién"),
        ("¿Por quién fue fundado?", "quién"),
        ("¿Adónde fue?", "dónde"),
        ("¿Cuántas aulas tiene?", "cuánto"),
        ("¿Cuán alto es?", "cuánto"),
        ("¿Cuáles son?", "cuál"),
        ("Según el texto, ¿cómo se llama el que llegó cuando llovía?", "cómo"),
        ("CUANDO NACIO", "cuándo"),
        ("¿De donde venia?", "dónde"),
        ("por  que se fue", "por qué"),
        (unicodedata.normalize("NFD", "¿Dónde está?"), "dónde"),
        ("Nombre una ciudad que tenga puerto.", OTHER),
        ("", OTHER),
    ],
)
def test_spanish_question_words(question, word):
    assert question_word(question, "es") == word


@pytest.mark.parametrize(
    ("question", "word"),
    [
        ("How many people live there?", "how many"),
        ("How did it end?", "how"),
        ("In what year?", "what"),
        ("Whose idea was it?", "who"),
        ("Name a city.", OTHER),
    ],
)
def test_english_question_words(question, word):
    assert question_word(question, "en") == word


@pytest.mark.parametrize(
    ("text", "length"),
    [("Cádiz", "1 word"), ("la mar", "1 word"), ("el", "1 word"), ("dos mil", "2 words"), ("a b c d", "3–4 words"),
     ("a b c d e", "5–8 words"), ("a b c d e f g h i", "9+ words")],
)  # fmt: skip
def test_answer_length_counts_words_as_f1_does(text, length):
    assert answer_length(Example("q", "¿?", text, (Answer(text, 0),)), "es") == length


def test_every_question_is_in_one_group_of_each_breakdown():
    examples = [
        Example("a", "¿Dónde?", "Jaén", (Answer("Jaén", 0),)),
        Example("b", "¿Quién?", "Ana Rúa", (Answer("Ana Rúa", 0),)),
        Example("c", "¿Qué?", "…"),
        Example("d", "¿Quién?", "Ana", (Answer("Ana", 0),)),
    ]
    found = breakdowns(examples, "es")
    assert found == {
        "question word": {"qué": ["c"], "quién": ["b", "d"], "dónde": ["a"]},
        "answer length": {"1 word": ["a", "d"], "2 words": ["b"], "no answer": ["c"]},
    }
    assert list(found["question word"]) == ["qué", "quién", "dónde"]


def test_an_unknown_language_has_no_question_words():
    assert list(breakdowns([Example("a", "Wer?", "…")], "de")) == ["answer length"]
