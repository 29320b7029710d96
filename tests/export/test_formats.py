import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModelForQuestionAnswering, AutoTokenizer

from distill.export.formats import FORMATS, chosen_formats, load_format, size_on_disk, write_formats
from distill.tasks.question_answering.task import QuestionAnswering
from distill.types import Batch, UserError
from tests.export.conftest import tiny_model, windows

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

TASK = QuestionAnswering()


@pytest.fixture(scope="module")
def student():
    with torch.random.fork_rng(devices=[]):
        return tiny_model("bert")


@pytest.fixture(scope="module")
def folder(tmp_path_factory, student, tokenizer):
    folder = tmp_path_factory.mktemp("export")
    with torch.random.fork_rng(devices=[]):
        batches = [Batch(windows(student, [12, 7]), {}, torch.arange(2))]
        write_formats(student, tokenizer, folder, list(FORMATS), TASK, batches)
    return folder


@pytest.mark.parametrize(
    ("wish", "expected"),
    [
        ([], ["torch"]),
        (["int8"], ["torch", "onnx", "int8"]),
        (["onnx"], ["torch", "onnx"]),
        (["bf16", "int8"], ["torch", "bf16", "onnx", "int8"]),
    ],
)
def test_torch_is_always_written_and_int8_brings_its_graph(wish, expected):
    assert chosen_formats(wish) == expected


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_answers_with_a_tokenizer_beside_it(folder, name, student, tokenizer):
    model = load_format(folder, name, TASK)
    batch = windows(student, [12, 7])
    with torch.no_grad():
        found, expected = TASK.logits(model(**batch)).float(), TASK.logits(student(**batch))
    is_real = batch["attention_mask"].bool()
    # The tiny weights are drawn large, so that coarse formats differ visibly and yet stay near.
    tolerance = {"float32": 1e-5, "bfloat16": 0.5, "int8": 1.5}[FORMATS[name].dtype]
    assert (found - expected)[is_real].abs().max() < tolerance
    beside = (folder / FORMATS[name].file).parent
    assert AutoTokenizer.from_pretrained(beside).get_vocab() == tokenizer.get_vocab()
    assert AutoConfig.from_pretrained(beside).model_type == "bert"


def test_transformers_alone_loads_the_weights_as_they_were(folder, student):
    loaded, info = AutoModelForQuestionAnswering.from_pretrained(folder, output_loading_info=True)
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    assert loaded.dtype == torch.float32
    assert all(torch.equal(loaded.state_dict()[name], tensor) for name, tensor in student.state_dict().items())
    assert AutoModelForQuestionAnswering.from_pretrained(folder / "bf16").dtype == torch.bfloat16


def test_sizes_are_those_of_the_files(folder):
    for name, form in FORMATS.items():
        assert size_on_disk(folder, name) == (folder / form.file).stat().st_size > 0
    assert size_on_disk(folder, "bf16") < size_on_disk(folder, "torch")


def test_weights_in_several_files_count_together(tmp_path):
    for part in (1, 2):
        (tmp_path / f"model-0000{part}-of-00002.safetensors").write_bytes(b"x" * part)
    assert size_on_disk(tmp_path, "torch") == 3


@pytest.mark.parametrize("damage", ["missing", "foreign"])
def test_weights_that_do_not_belong_are_an_error(tmp_path, student, tokenizer, damage):
    write_formats(student, tokenizer, tmp_path, ["torch"], TASK, [])
    weights = load_file(tmp_path / "model.safetensors")
    if damage == "missing":
        del weights["qa_outputs.weight"]
    else:
        weights["projection.weight"] = torch.zeros(2)
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(UserError, match="do not belong"):
        load_format(tmp_path, "torch", TASK)
