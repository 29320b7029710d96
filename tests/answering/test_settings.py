import math
import re

import pytest

from distill.answering.settings import AnswerSettings
from distill.data.datamodule import SquadDataModule
from distill.tasks.question_answering.task import QuestionAnswering
from distill.types import UserError


def test_defaults_are_those_of_training_and_evaluation():
    settings, data, task = AnswerSettings(), SquadDataModule(), QuestionAnswering()
    for name in ("max_length", "doc_stride", "max_question_length"):
        assert getattr(settings, name) == getattr(data, name)
    assert settings.max_answer_length == task.max_answer_length
    assert settings.n_best == task.n_best
    assert settings.no_answer_threshold == task.null_threshold


def test_settings_go_by_the_pipelines_names_too():
    options = {"max_seq_len": 256, "max_question_len": 20, "max_answer_len": 15, "doc_stride": 50, "topk": 3}
    assert AnswerSettings().updated(options) == AnswerSettings(
        max_length=256, max_question_length=20, max_answer_length=15, doc_stride=50, top_k=3
    )


@pytest.mark.parametrize(
    ("before", "option", "after"), [(0.0, False, None), (None, True, 0.0), (1.5, True, 1.5), (None, False, None)]
)
def test_impossible_answers_stand_for_a_threshold(before, option, after):
    settings = AnswerSettings(no_answer_threshold=before).updated({"handle_impossible_answer": option})
    assert settings.no_answer_threshold == after


def test_none_is_a_threshold_but_no_length():
    settings = AnswerSettings().updated({"no_answer_threshold": None, "max_length": None})
    assert (settings.no_answer_threshold, settings.max_length) == (None, 384)


def test_a_shorter_window_keeps_its_proportions():
    settings = AnswerSettings().updated({"max_length": 120})
    assert (settings.doc_stride, settings.max_question_length) == (40, 20)
    assert AnswerSettings().updated({"max_length": 512}) == AnswerSettings(max_length=512)


def test_nothing_to_change_changes_nothing():
    settings = AnswerSettings()
    assert settings.updated({}) is settings


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"temprature": 2.0}, "'temprature' is no setting"),
        ({"padding": "max_length"}, "padding: leave it out"),
        ({"max_length": "long"}, "max_length must be a whole number of at least 1, got 'long'"),
    ],
)
def test_wrong_names_are_refused(options, message):
    with pytest.raises(UserError, match=message):
        AnswerSettings().updated(options)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"top_k": 0}, "top_k must be a whole number of at least 1, got 0"),
        ({"top_k": True}, "top_k must be"),
        ({"n_best": 2.0}, "n_best must be"),
        ({"top_k": 21}, "top_k 21 is more than n_best 20"),
        ({"no_answer_threshold": math.nan}, "no_answer_threshold must be a finite number or None, got nan"),
        ({"temperature": 0.0}, "temperature must be more than 0, got 0.0"),
        ({"batch_size": 0}, "batch_size must be"),
        ({"max_length": 129}, "max_length 129 is more than the model's 128 positions"),
        ({"doc_stride": 110}, "max_length 128 is too short"),
    ],
)
def test_values_out_of_range_are_refused(tokenizer, changes, message):
    settings = AnswerSettings(max_length=128, doc_stride=40, max_question_length=20)
    settings.check(tokenizer, 128)
    with pytest.raises(UserError, match=re.escape(message)):
        AnswerSettings(
            **{"max_length": 128, "doc_stride": 40, "max_question_length": 20} | changes,
        ).check(tokenizer, 128)
