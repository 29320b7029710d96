import pytest

from distill.answering.answerer import QuestionAnswerer
from distill.tasks.question_answering.reading import read_examples
from tests.benchmarks.answering import compare, document_memory, plain_loop, run
from tests.export.alone import PlainAnswer, PlainReader


@pytest.fixture(scope="module")
def answerer(teacher_folder):
    return QuestionAnswerer.from_pretrained(str(teacher_folder))


@pytest.fixture(scope="module")
def loop(teacher_folder, answerer):
    return plain_loop(str(teacher_folder), answerer.settings)


def test_all_ways_give_the_same_answers(loop, answerer, squad_file):
    examples, _ = read_examples([squad_file])
    result = compare(loop, {"torch": answerer, "again": answerer}, examples, num_blocks=2)
    assert result["num_questions"] == 18
    assert result["differing"] == {"torch": [], "again": []}
    assert set(result["questions_per_second"]) == {"loop", "torch", "again"}
    median, low, high = result["ratio"]["torch"]
    assert 0 < low <= median <= high


def test_other_answers_are_named(loop, answerer, squad_file, monkeypatch):
    examples, _ = read_examples([squad_file])
    monkeypatch.setattr(PlainReader, "__call__", lambda self, example: PlainAnswer("nunca", 1.0, None))
    assert len(compare(loop, {"torch": answerer}, examples, num_blocks=2)["differing"]["torch"]) == 18


def test_documents_are_as_long_as_asked(answerer):
    result = document_memory(answerer, "¿Qué?", "uno dos tres", 100)
    assert (result["num_words"], result["num_chars"]) == (100, 432)


def test_the_command_prints_both(teacher_folder, squad_file, capsys):
    run(str(squad_file), str(teacher_folder), num_questions=6, num_blocks=2, document_words=[50])
    shown = capsys.readouterr().out
    assert "peak_growth_mb" in shown
    assert "ratio" in shown
