import json
import threading
import tracemalloc
import unicodedata

import lightning as L
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from transformers import AutoModelForQuestionAnswering, AutoTokenizer

from distill import QuestionAnswerer, UserError
from distill.answering import answerer
from distill.data.datamodule import SquadDataModule
from distill.modules.single import QuestionAnsweringModule
from distill.tasks.question_answering.reading import read_examples
from tests.answering.conftest import CONTEXT

QUESTION = "¿Dónde nació Mateo Güell?"


def is_in_place(found, context):
    return found["answer"] == context[found["start"] : found["end"]]


def test_one_question_gives_one_answer_in_the_pipelines_form(teacher, dev_sample):
    item = dev_sample[0]
    found = teacher(item.question, item.context)
    assert set(found) == {"score", "start", "end", "answer"}
    assert is_in_place(found, item.context)
    assert 0 < found["score"] <= 1
    assert found == teacher(question=item.question, context=item.context)
    assert found == teacher({"question": item.question, "context": item.context})


def predictions(examples, folder):
    """Answer examples as the predict command does."""
    document = [
        {"context": item.context, "qas": [{"id": item.question_id, "question": item.question}]} for item in examples
    ]
    file = folder / "asked.json"
    file.write_text(json.dumps({"data": [{"title": "t", "paragraphs": document}]}), encoding="utf-8")
    module = QuestionAnsweringModule(model="embedded")
    data = SquadDataModule(predict_files=[str(file)], cache_dir=str(folder / "windows"))
    options = {"logger": False, "enable_progress_bar": False, "use_distributed_sampler": False}
    L.Trainer(accelerator="cpu", default_root_dir=folder, **options).predict(module, data)
    return module.last_evaluation.predictions


def answers(model, examples):
    found = model([item.question for item in examples], [item.context for item in examples])
    return {item.question_id: answer["answer"] for item, answer in zip(examples, found, strict=True)}


def test_answers_are_those_of_the_predict_command(teacher, dev_sample, tmp_path):
    found = answers(teacher, dev_sample)
    assert found == predictions(dev_sample, tmp_path)
    assert any(answer == "" for answer in found.values())


@pytest.mark.slow
def test_answers_to_people_are_those_of_the_predict_command(teacher, real_data, tmp_path):
    examples, _ = read_examples([real_data / "qa" / "xquad_es.json"])
    assert len(examples) == 1190
    assert answers(teacher, examples) == predictions(examples, tmp_path)


def test_top_k_gives_the_best_first_and_its_probabilities_are_shares(teacher, dev_sample):
    item = dev_sample[0]
    found = teacher(item.question, item.context, top_k=20)
    assert len(found) == 20
    assert found[0] == teacher(item.question, item.context)
    scores = [answer["score"] for answer in found]
    assert scores == sorted(scores, reverse=True)
    assert 0.9 < sum(scores) <= 1 + 1e-9
    assert all(is_in_place(answer, item.context) for answer in found)
    assert len({(answer["start"], answer["end"]) for answer in found}) == 20


def test_a_threshold_makes_no_answer_rarer_or_impossible(teacher, dev_sample):
    sample = dev_sample[::2]
    questions, contexts = [item.question for item in sample], [item.context for item in sample]
    empty = [
        sum(answer["answer"] == "" for answer in teacher(questions, contexts, no_answer_threshold=threshold))
        for threshold in (-100.0, 0.0, None)
    ]
    assert empty[0] == len(sample)
    assert 0 < empty[1] < 15
    assert empty[2] == 0


def test_lists_iterators_and_single_questions_agree(teacher, dev_sample):
    items = [{"question": item.question, "context": item.context} for item in dev_sample[:12]]
    whole = teacher(items)
    assert isinstance(whole, list)
    streamed = teacher(iter(items))
    assert not isinstance(streamed, list)
    for left, right, item in zip(whole, streamed, items, strict=True):
        alone = teacher(**item)
        assert left["answer"] == right["answer"] == alone["answer"]
        assert left["score"] == pytest.approx(alone["score"], abs=1e-4)
    assert teacher([]) == []


def test_several_contexts_are_searched_together(teacher, dev_sample):
    question, contexts = dev_sample[0].question, [item.context for item in dev_sample[::33]]
    assert len(set(contexts)) == 4
    alone = [teacher(question, context, no_answer_threshold=None) for context in contexts]
    found = teacher(question, contexts, no_answer_threshold=None)
    assert is_in_place(found, contexts[found["context_index"]])
    assert found["answer"] == alone[found["context_index"]]["answer"]
    backwards = teacher(question, contexts[::-1], no_answer_threshold=None)
    assert backwards["context_index"] == 3 - found["context_index"]
    assert backwards["score"] == pytest.approx(found["score"], abs=1e-4)


def test_a_long_document_is_answered_wherever_the_answer_is(teacher, dev_sample, monkeypatch):
    monkeypatch.setattr(answerer, "PASSAGE_CHARS", 2**13)
    item = next(each for each in dev_sample if each.answers and each.answers[0].text == answer_of(teacher, each))
    filler = "En aquella comarca llovió durante varios días y los caminos se llenaron de barro. " * 120
    document = filler + item.context + "\n\n" + filler
    assert len(document) > 2 * 2**13
    found = teacher(item.question, document, no_answer_threshold=None)
    assert found["answer"] == item.answers[0].text
    assert is_in_place(found, document)
    assert len(filler) <= found["start"] < len(filler) + len(item.context)


def answer_of(model, item):
    return model(item.question, item.context)["answer"]


def test_a_stream_is_read_no_further_ahead_than_a_pool(tiny, monkeypatch):
    monkeypatch.setattr(answerer, "POOL_CHARS", 4000)
    taken = []

    def items():
        for index in range(10_000):
            taken.append(index)
            yield {"question": QUESTION, "context": CONTEXT}

    stream = tiny(items())
    for _ in range(5):
        next(stream)
    assert len(taken) < 30


def test_memory_does_not_grow_with_a_document(tiny, monkeypatch):
    monkeypatch.setattr(answerer, "PASSAGE_CHARS", 2**12 + 2**11)
    monkeypatch.setattr(answerer, "POOL_CHARS", 2**12)
    tiny(QUESTION, CONTEXT)

    def peak(num_chars):
        document = (CONTEXT + " ") * (num_chars // len(CONTEXT))
        tracemalloc.start()
        try:
            tiny(QUESTION, document)
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    # Of each passage only the best spans are kept, a few kilobytes.
    assert peak(2**15) < 1.5 * peak(2**13)


def test_threads_share_an_answerer(teacher, dev_sample):
    items = dev_sample[:16]
    expected = [teacher(item.question, item.context)["answer"] for item in items]
    found = [None] * len(items)

    def run(index):
        found[index] = teacher(items[index].question, items[index].context)["answer"]

    threads = [threading.Thread(target=run, args=(index,)) for index in range(len(items))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == expected


PIECES = [
    *("año", "niña", "🚢", "👩\u200d👧", "\U0001d504", "ñ", "n\u0303", "e\u0301", "한"),
    *("\ufb01n", "«x»", " ", "\n", "\u200b", "1900", "ß", "İ"),
]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(PIECES), min_size=1, max_size=40).map("".join).filter(str.strip), st.integers(1, 5))
@example("El barco 🚢 llegó a Ca\u0301diz 👩‍👧.", 3)
@example(unicodedata.normalize("NFD", CONTEXT), 5)
def test_answers_are_found_again_in_any_text(tiny, context, top_k):
    found = tiny(QUESTION, context, top_k=top_k)
    for answer in found if isinstance(found, list) else [found]:
        assert is_in_place(answer, context)
        assert not answer["answer"] or answer["answer"].strip() == answer["answer"]


def test_words_are_made_whole_on_request_and_stay_distinct(tiny):
    found = tiny(QUESTION, CONTEXT, top_k=20, align_to_words=True)
    assert all(is_in_place(answer, CONTEXT) for answer in found)
    assert len({(answer["start"], answer["end"]) for answer in found}) == len(found)
    for answer in found:
        before, after = CONTEXT[: answer["start"]], CONTEXT[answer["end"] :]
        assert not (before[-1:].isalnum() and answer["answer"][:1].isalnum())
        assert not (after[:1].isalnum() and answer["answer"][-1:].isalnum())


def test_calibrated_models_say_so_in_their_scores(teacher_folder, tmp_path, tiny):
    for file in teacher_folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "calibration.json").write_text('{"temperature": 4.0}', encoding="utf-8")
    calibrated = QuestionAnswerer.from_pretrained(str(tmp_path), no_answer_threshold=None)
    assert calibrated.settings.temperature == 4.0
    assert calibrated(QUESTION, CONTEXT)["score"] < tiny(QUESTION, CONTEXT)["score"]
    assert calibrated(QUESTION, CONTEXT, temperature=1.0) == tiny(QUESTION, CONTEXT)


def test_windows_are_no_longer_than_the_model_can_take(tiny):
    assert (tiny.settings.max_length, tiny.num_positions) == (128, 128)
    with pytest.raises(UserError, match="max_length 200 is more than the model's 128 positions"):
        tiny(QUESTION, CONTEXT, max_length=200)


def test_a_loaded_model_answers_too(teacher_folder, tiny):
    model = AutoModelForQuestionAnswering.from_pretrained(teacher_folder).train()
    tokenizer = AutoTokenizer.from_pretrained(teacher_folder)
    loaded = QuestionAnswerer.from_model(model, tokenizer, no_answer_threshold=None)
    assert loaded(QUESTION, CONTEXT) == tiny(QUESTION, CONTEXT)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_answer_len": 0}, "max_answer_length must be"),
        ({"bogus": 1}, "'bogus' is no setting of a question"),
        ({"backend": "rust"}, "backend 'rust' is unknown"),
        ({"tokenizer": "nowhere/at-all"}, "nowhere/at-all"),
    ],
)
def test_wrong_options_end_in_one_line(teacher_folder, options, message, monkeypatch):
    monkeypatch.setattr("distill.answering.backends.load_model", lambda *_: pytest.fail("weights were loaded"))
    with pytest.raises(UserError, match=message) as error:
        QuestionAnswerer.from_pretrained(str(teacher_folder), **options)
    assert "\n" not in str(error.value)


def test_wrong_input_in_a_stream_is_said_when_its_turn_comes(tiny):
    stream = tiny(iter([{"question": QUESTION, "context": CONTEXT}, {"question": QUESTION}]))
    with pytest.raises(UserError, match="item 1: 'context' is missing"):
        list(stream)
