import unicodedata

from distill.augmentation.composed import composed
from distill.types import Answer, Example

CONTEXT = "María Núñez nació en Ávila, tras él."


def decomposed(*answers: str) -> list[Example]:
    context, question = (unicodedata.normalize("NFD", text) for text in (CONTEXT, "¿Quién nació?"))
    texts = [unicodedata.normalize("NFD", text) for text in answers]
    return [Example("a", question, context, tuple(Answer(text, context.index(text)) for text in texts))]


def test_answers_are_found_at_their_place_in_the_composed_context():
    [example] = composed(decomposed("María Núñez", "Ávila", "él")) or []
    assert (example.question, example.context) == ("¿Quién nació?", CONTEXT)
    texts = ("María Núñez", "Ávila", "él")
    assert example.answers == tuple(Answer(text, CONTEXT.index(text)) for text in texts)


def test_composed_questions_stay_as_they_are():
    examples = [Example("a", "¿Quién?", CONTEXT, (Answer("Ávila", 21),)), Example("b", "¿Qué?", CONTEXT)]
    assert composed(examples) == examples


def test_an_answer_that_parts_a_letter_from_its_accent_has_no_place():
    context = unicodedata.normalize("NFD", "él")
    for answer in (Answer("e", 0), Answer("\u0301l", 1)):
        assert composed([Example("a", "¿Quién?", context, (answer,))]) is None
