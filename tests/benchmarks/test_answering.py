from distill.answering.answerer import QuestionAnswerer
from distill.tasks.question_answering.reading import read_examples
from tests.benchmarks.answering import compare, document_memory, run


def test_both_ways_give_the_same_answers(teacher_folder, squad_file):
    answerer = QuestionAnswerer.from_pretrained(str(teacher_folder))
    examples, _ = read_examples([squad_file])
    result = compare(answerer, answerer, examples, num_blocks=2)
    assert result["num_questions"] == 18
    assert result["differing"] == []
    assert result["ratio"] > 0
    assert set(result["questions_per_second"]) == {"loop", "batched"}


def test_documents_are_as_long_as_asked(teacher_folder):
    answerer = QuestionAnswerer.from_pretrained(str(teacher_folder))
    result = document_memory(answerer, "¿Qué?", "uno dos tres", 100)
    assert (result["num_words"], result["num_chars"]) == (100, 432)


def test_the_command_prints_both(teacher_folder, squad_file, capsys):
    run(str(squad_file), str(teacher_folder), num_questions=6, num_blocks=2, document_words=[50])
    shown = capsys.readouterr().out
    assert "peak_growth_mb" in shown
    assert "ratio" in shown
