import pytest
import torch
from transformers import AutoModelForQuestionAnswering, AutoTokenizer

from distill import UserError, pipeline
from tests.answering.conftest import CONTEXT

QUESTION = "¿Dónde nació Mateo Güell?"
ITEM = {"question": QUESTION, "context": CONTEXT}


@pytest.fixture(scope="module")
def ask(teacher_folder):
    return pipeline("question-answering", model=str(teacher_folder))


def test_old_calls_give_old_forms(ask):
    one = ask(question=QUESTION, context=CONTEXT)
    assert set(one) == {"score", "start", "end", "answer"}
    assert ask(ITEM) == ask([ITEM]) == ask(data=ITEM) == one
    assert ask([ITEM, ITEM]) == [one, one]
    assert ask(question=[QUESTION, QUESTION], context=CONTEXT) == [one, one]
    assert list(ask(iter([ITEM]))) == [one]
    assert len(ask(question=QUESTION, context=CONTEXT, top_k=3)) == 3
    assert len(ask(question=QUESTION, context=CONTEXT, topk=3)) == 3


def test_defaults_are_the_old_ones(ask):
    settings = ask.settings
    assert (settings.max_answer_length, settings.no_answer_threshold, settings.align_to_words) == (15, None, True)


def test_options_are_taken_when_it_is_made_and_when_it_is_called(teacher_folder):
    ask = pipeline(
        "question-answering", str(teacher_folder), max_answer_len=3, handle_impossible_answer=True, device=-1
    )
    assert (ask.settings.max_answer_length, ask.settings.no_answer_threshold) == (3, 0.0)
    answers = ask(**ITEM, top_k=20, handle_impossible_answer=True)
    assert any(answer["answer"] == "" for answer in answers)
    answers = ask(**ITEM, top_k=20, handle_impossible_answer=False, max_seq_len=64, doc_stride=16, max_question_len=16)
    assert all(answer["answer"] for answer in answers)


def test_loaded_models_and_dtypes_are_taken(teacher_folder, ask):
    model = AutoModelForQuestionAnswering.from_pretrained(teacher_folder)
    tokenizer = AutoTokenizer.from_pretrained(teacher_folder)
    assert pipeline("question-answering", model=model, tokenizer=tokenizer)(ITEM) == ask(ITEM)
    half = pipeline("question-answering", model=str(teacher_folder), torch_dtype=torch.bfloat16)
    assert half._scorer.backend.model.dtype == torch.bfloat16
    auto = pipeline("question-answering", model=str(teacher_folder), dtype="auto")
    assert auto._scorer.backend.model.dtype == torch.float32


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("fill-mask", "x"), "task 'fill-mask' is not here"),
        (("question-answering",), "give a model's folder or hub name"),
        (("question-answering", 3), "give a model's folder or hub name"),
    ],
)
def test_what_is_not_here_is_said(arguments, message):
    with pytest.raises(UserError, match=message):
        pipeline(*arguments)
