import pytest
import torch
from transformers import AutoModelForQuestionAnswering, AutoTokenizer

from distill.export.formats import write_formats
from distill.tasks.question_answering.reading import read_examples
from distill.tasks.question_answering.task import QuestionAnswering
from distill.types import Batch, Example
from tests.export.alone import PlainReader, compare, main, readers_of, with_transformers

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

EXAMPLE = Example("q", "¿Dónde nació?", "Ana Rúa nació en Jaén en 1900.")


@pytest.fixture(scope="module")
def exported(teacher_folder, tmp_path_factory):
    folder = tmp_path_factory.mktemp("export")
    model = AutoModelForQuestionAnswering.from_pretrained(teacher_folder)
    tokenizer = AutoTokenizer.from_pretrained(teacher_folder)
    inputs = tokenizer(EXAMPLE.question, EXAMPLE.context, return_tensors="pt")
    batch = Batch(dict(inputs), {}, torch.zeros(1), [])
    write_formats(model, tokenizer, folder, ["onnx", "int8"], QuestionAnswering(), [batch])
    return folder


def reader(teacher_folder, start, end, **options):
    """A reader whose model has these logits, whatever it is asked."""

    def compute(inputs):
        length = inputs["input_ids"].shape[1]
        return tuple(torch.nn.functional.pad(torch.tensor([side]), (0, length - len(side))) for side in (start, end))

    return PlainReader(compute, AutoTokenizer.from_pretrained(teacher_folder), **options)


def test_the_best_span_of_the_context_is_the_answer(teacher_folder):
    tokens = AutoTokenizer.from_pretrained(teacher_folder)(EXAMPLE.question, EXAMPLE.context)
    first = tokens.sequence_ids().index(1)
    start, end = [0.0] * len(tokens["input_ids"]), [0.0] * len(tokens["input_ids"])
    start[1], start[first], end[first + 1] = 99.0, 4.0, 3.0  # a token of the question cannot be chosen
    begin, stop = tokens.token_to_chars(first).start, tokens.token_to_chars(first + 1).end
    answer = reader(teacher_folder, start, end)(EXAMPLE)
    assert answer.text == EXAMPLE.context[begin:stop].strip()
    assert answer.margin == pytest.approx(3.0)  # 7 against 4 for the span that ends anywhere else
    start[0], end[0] = 5.0, 3.0
    assert reader(teacher_folder, start, end)(EXAMPLE).text == ""
    assert reader(teacher_folder, start, end, no_answer_threshold=1.0)(EXAMPLE).text == answer.text  # 8 - 1 = 7
    assert reader(teacher_folder, start, end, no_answer_threshold=None)(EXAMPLE).text == answer.text


def test_an_export_is_its_student(teacher_folder, exported, squad_file):
    examples, _ = read_examples([squad_file])
    found = compare(readers_of(teacher_folder, exported), examples)
    assert list(found) == ["student", "transformers", "onnxruntime", "onnxruntime int8"]
    assert found["transformers"]["max_difference"] == 0.0
    assert 0.0 < found["onnxruntime"]["max_difference"] < 1e-4
    assert found["transformers"]["changed"] == {}
    assert found["student"]["f1"] == found["transformers"]["f1"]


def test_other_weights_are_noticed(teacher_folder, exported, squad_file):
    examples, _ = read_examples([squad_file])
    readers = readers_of(teacher_folder, exported)
    model = AutoModelForQuestionAnswering.from_pretrained(teacher_folder).eval()
    torch.nn.init.normal_(model.qa_outputs.weight)
    model.save_pretrained(exported / "other")
    readers["transformers"].compute = with_transformers(exported / "other")
    found = compare(readers, examples)["transformers"]
    assert found["max_difference"] > 0.01
    assert found["changed"].keys() <= {example.question_id for example in examples}
    assert found["changed"]


def test_the_command_prints_every_format(teacher_folder, exported, squad_file, capsys):
    main(str(teacher_folder), str(exported), str(squad_file), num_questions=4)
    shown = capsys.readouterr().out
    assert all(name in shown for name in ("student", "transformers", "onnxruntime int8", "max_difference"))
