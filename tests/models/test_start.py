from types import SimpleNamespace

import pytest

from distill.models.start import StudentStart
from distill.models.student import Student
from distill.tasks.question_answering.task import QuestionAnswering
from distill.types import UserError


def test_data_that_counts_no_pieces_is_refused(tokenizer, teacher_folder):
    text = SimpleNamespace(tokenizer=tokenizer, tokenizer_source=str(teacher_folder))
    start = StudentStart(Student(vocabulary="trimmed"), str(teacher_folder), text)
    with pytest.raises(UserError, match="SimpleNamespace does not count pieces; use full"):
        _ = start.teacher_ids


@pytest.mark.parametrize("settings", [Student(init="inherited"), Student(vocabulary="trimmed")])
def test_what_looks_at_text_needs_some(settings, teacher_folder):
    start = StudentStart(settings, str(teacher_folder), None)
    with pytest.raises(UserError, match="give the Trainer a data module"):
        start.sample() if settings.init == "inherited" else start.teacher_ids


def test_students_that_need_nothing_of_this_are_left_alone(teacher_folder):
    start = StudentStart(Student(), str(teacher_folder), None)
    model = object()
    assert start.teacher_ids is None
    assert start.translate(model) is model
    assert start.inherit(model, model, (0,), QuestionAnswering()) is None
    start.trim(model)
