"""Who is asked what about paragraphs, and which answers are kept."""

from pathlib import Path

import numpy as np

from distill.augmentation.asking import Asked, OwnAnswers, TeacherAnswers, ask
from distill.augmentation.cloze import Cloze
from distill.augmentation.facts import find_facts
from distill.augmentation.spread import Paragraph

TEXT = "En la villa de Soria viven hoy 1234 personas muy amables con Ana Rúa y con Juan de la Cueva."
PARAGRAPHS = [Paragraph(key, TEXT, Path("a.txt")) for key in range(30)]


def test_a_paragraphs_key_decides_what_is_asked_about_it():
    asked = list(ask(PARAGRAPHS, Cloze(), 2, lambda _: True))
    assert len(asked) == 60
    assert asked == list(ask(PARAGRAPHS, Cloze(), 2, lambda _: True))
    by_key = {one.paragraph.key: [other.fact for other in asked if other.paragraph == one.paragraph] for one in asked}
    assert {fact for facts in by_key.values() for fact in facts} == set(find_facts(TEXT, 6))
    assert len({tuple(facts) for facts in by_key.values()}) > 3


def test_the_text_answers_with_what_was_left_out():
    asked = list(ask(PARAGRAPHS, Cloze(), 4, lambda _: True))
    answered = list(OwnAnswers()(asked))
    assert [one for one, _ in answered] == asked
    for one, answer in answered:
        assert answer is not None
        assert (answer.start_char, answer.start_char + len(answer.text)) == one.fact.span
        assert answer.text == TEXT[slice(*one.fact.span)]


def test_the_teachers_answers_come_in_order_and_only_sure_ones_are_kept(teacher_folder):
    asked = list(ask(PARAGRAPHS[:5], Cloze(), 2, lambda _: True))
    for min_score, num_kept in ((0.0, 10), (1.0, 0)):
        answered = list(TeacherAnswers(str(teacher_folder), min_score, "cpu")(asked))
        assert [one for one, _ in answered] == asked
        assert sum(answer is not None for _, answer in answered) == num_kept
        assert all(TEXT[answer.start_char :].startswith(answer.text) for _, answer in answered if answer is not None)


def test_an_answer_of_marks_alone_is_not_kept(teacher_folder, monkeypatch):
    asked = list(ask(PARAGRAPHS[:1], Cloze(), 2, lambda _: True))
    answers = TeacherAnswers(str(teacher_folder), 0.0, "cpu")
    for text, is_kept in (("\u200b", False), ("-", False), ("", False), ("1", True), ("ñ.", True)):
        monkeypatch.setattr(
            answers, "_answerer", lambda asked, text=text: ({"answer": text, "start": 0, "score": 1.0} for _ in asked)
        )
        assert [answer is not None for _, answer in answers(asked)] == [is_kept] * len(asked)


def test_the_teacher_is_read_a_question_at_a_time(teacher_folder):
    pulled = []

    def questions():
        for index in range(3000):
            pulled.append(index)
            fact = next(find_facts(TEXT, 6))
            yield Asked(PARAGRAPHS[0], "¿Quién falta?", fact)

    next(TeacherAnswers(str(teacher_folder), 0.0, "cpu")(questions()))
    assert len(pulled) < 3000


def test_what_the_teacher_reads_of_a_question_is_limited(teacher_folder):
    answers = TeacherAnswers(str(teacher_folder), 0.0, "cpu")
    assert answers.fits("¿Quién?")
    assert not answers.fits(f"¿{' '.join(map(str, np.arange(500)))}?")
