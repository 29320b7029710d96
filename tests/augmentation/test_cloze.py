"""The questions that ask for facts of plain text."""

import numpy as np

from distill.augmentation.cloze import GAP, Cloze, NoisyCloze
from distill.augmentation.facts import find_facts, is_function_word

TEXT = (
    "La señora Ana Rúa nació en Jaén el 3 de mayo de 1902 y murió en Ávila en 1950, a los 48 años. Alfonso de la Torre "
    "vivió cerca. ¿Quién fue el rey que mandó escribir 427,5 cantigas a Juan de la Cueva en el año de 1301?"
)


def test_question_shows_the_sentence_around_the_gap():
    fact = next(fact for fact in find_facts(TEXT, 6) if fact.kind == "year")
    assert Cloze(num_words=4).question(TEXT, fact) == "¿Qué año falta aquí: «… murió en Ávila en _____, a los 48 …»?"


def test_question_shows_as_much_as_fits():
    fact = next(fact for fact in find_facts(TEXT, 6) if fact.kind == "year")
    whole = Cloze().question(TEXT, fact)
    assert Cloze().question(TEXT, fact, fits=lambda question: len(question) < len(whole)) != whole
    shorter = "¿Qué año falta aquí: «… murió en Ávila en _____, a los 48 …»?"
    assert Cloze().question(TEXT, fact, fits=lambda question: len(question) <= len(shorter)) == shorter
    assert Cloze().question(TEXT, fact, fits=lambda _: False) == "¿Qué año falta aquí: «… en _____, …»?"


def test_the_answer_is_not_in_its_question():
    text = "En la villa de Soria viven hoy 1234 personas muy amables."
    for fact in find_facts(text, 6):
        question = Cloze().question(text, fact)
        assert text[slice(*fact.span)] not in question
        assert GAP in question


SENTENCE = "La condesa Ana Rúa mandó escribir en Jaén 427 cantigas viejas a cinco monjes del convento de Soria."


def noisy_questions(noise, num_seeds=200, fits=lambda _: True):
    form = NoisyCloze(noise)
    return [
        (question.strip("¿?"), fact)
        for seed in range(num_seeds)
        for question, fact in form.ask(SENTENCE, 3, np.random.default_rng(seed), fits)
    ]


def test_noisy_questions_consist_of_a_question_word_and_words_near_what_they_ask_for():
    words = SENTENCE.rstrip(".").replace("La", "la").split()
    for question, fact in noisy_questions(noise=0.4):
        shown = question.split()
        while shown and (shown[0] not in words or shown[:2] in (["es", "el"], ["el", "número"])):
            shown.pop(0)
        assert set(shown) <= {*words, "es", "el", "número"}
        assert sum(not is_function_word(word) for word in shown) > 1
        assert not set(SENTENCE[slice(*fact.span)].split()) & set(shown) - {"de", "del", "a", "la", "el"}
        assert len(shown) <= 16


def test_noise_decides_how_many_words_are_left_out():
    without, some, many = (
        np.mean([len(question.split()) for question, _ in noisy_questions(noise)]) for noise in (1e-9, 0.2, 0.5)
    )
    assert without > some + 0.5 > many + 1.5


def test_half_of_the_noisy_questions_keep_the_order():
    words = SENTENCE.rstrip(".").split()
    # Soria is last: no words behind it that could come first.
    found = [
        [words.index(word) for word in question.split() if words.count(word) == 1]
        for question, fact in noisy_questions(1e-9, num_seeds=400)
        if SENTENCE[slice(*fact.span)] == "Soria"
    ]
    assert len(found) > 100
    assert 0.4 < np.mean([places == sorted(places) for places in found]) < 0.6


def test_places_are_asked_for_as_places():
    asked = {
        question.split()[0]
        for question, fact in noisy_questions(0.2)
        if fact.kind == "name" and SENTENCE[slice(*fact.span)] == "Jaén"
    }
    assert asked == {"Dónde", "En"}


def test_noisy_questions_are_shortened_until_they_fit_or_left_out():
    assert noisy_questions(0.4)
    assert all(len(question) <= 38 for question, _ in noisy_questions(0.4, fits=lambda text: len(text) <= 40))
    assert not noisy_questions(0.4, fits=lambda _: False)


def test_the_generator_decides():
    assert noisy_questions(0.4) == noisy_questions(0.4)
    assert len({question for question, _ in noisy_questions(0.4)}) > 200
