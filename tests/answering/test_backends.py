import pytest
import torch
from transformers import DistilBertConfig, RobertaConfig, RobertaForQuestionAnswering, RobertaModel

from distill import QuestionAnswerer
from distill.answering import backends
from distill.answering.backends import TorchBackend, cpu_tokens, load_backend, local_folder, resolve_device
from distill.export.graph import export_graph
from distill.types import UserError
from tests.answering.conftest import CONTEXT

INPUTS = {"input_ids": torch.tensor([[0, 5, 6, 2]]), "attention_mask": torch.ones(1, 4, dtype=torch.int64)}


def test_torch_gives_the_models_logits_without_gradients(teacher_folder):
    backend = load_backend(str(teacher_folder), "torch", device="cpu")
    model = RobertaForQuestionAnswering.from_pretrained(teacher_folder).eval()
    expected = model(**INPUTS)
    logits = backend(INPUTS)
    assert torch.equal(logits, torch.stack((expected.start_logits, expected.end_logits), dim=-1))
    assert logits.shape == (1, 4, 2)
    assert not logits.requires_grad
    assert backend.num_parameters == sum(parameter.numel() for parameter in model.parameters())


def test_precision_is_the_one_asked_for(teacher_folder):
    assert load_backend(str(teacher_folder), "torch", "bfloat16", "cpu")(INPUTS).dtype == torch.bfloat16


def test_only_low_precision_pays_for_new_lengths(teacher_folder):
    assert load_backend(str(teacher_folder), "torch", "float32", "cpu").length_multiple == 8
    assert load_backend(str(teacher_folder), "torch", "bfloat16", "cpu").length_multiple == 32


@pytest.mark.parametrize(("config", "tokens"), [
    (RobertaConfig(hidden_size=512, intermediate_size=3072, num_attention_heads=16), 682),
    (RobertaConfig(hidden_size=128, intermediate_size=512, num_attention_heads=4), 4096),
    (DistilBertConfig(dim=768, n_heads=12), 682),
])  # fmt: skip
def test_wider_models_get_smaller_batches_on_a_cpu(config, tokens):
    assert cpu_tokens(config) == tokens  # of 8 MiB


def test_a_model_in_training_is_switched_to_eval(teacher_config):
    model = RobertaForQuestionAnswering(teacher_config).train()
    TorchBackend(model)
    assert not model.training


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("tensorrt",), "backend 'tensorrt' is unknown: choose among torch, onnx"),
        (("torch", "int8"), "dtype 'int8' is none of the torch backend: choose among float32, bfloat16, float16"),
        (("onnx", "bfloat16"), "dtype 'bfloat16' is none of the onnx backend: choose among float32, int8"),
        (("onnx", "int8", "cuda"), "the onnx backend runs on the CPU"),
        (("torch", None, "teapot"), "device 'teapot'"),
        (("torch", None, 99), "device 'cuda:99': this machine has"),
    ],
)
def test_wrong_choices_are_refused_before_anything_loads(teacher_folder, arguments, message, monkeypatch):
    monkeypatch.setattr(backends, "load_model", lambda *_: pytest.fail("weights were loaded"))
    with pytest.raises(UserError, match=message):
        load_backend(str(teacher_folder), *arguments)


def test_a_model_without_its_head_is_refused(teacher_config, tmp_path):
    RobertaModel(teacher_config).save_pretrained(tmp_path)
    with pytest.raises(UserError, match=r"no weights for qa_outputs\.bias, qa_outputs\.weight"):
        load_backend(str(tmp_path), "torch")


def test_devices_go_by_name_or_number():
    assert resolve_device(-1) == resolve_device("cpu") == torch.device("cpu")
    assert resolve_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")


def test_a_folder_stays_where_it_is_and_a_hub_model_is_fetched(tmp_path, monkeypatch):
    assert local_folder(str(tmp_path)) == tmp_path
    asked = []

    def fetch(source, allow_patterns):
        asked.append((source, allow_patterns))
        return str(tmp_path)

    monkeypatch.setattr(backends, "snapshot_download", fetch)
    assert local_folder("my-org/my-model") == tmp_path
    assert asked[0][0] == "my-org/my-model"
    assert "onnx/*" in asked[0][1]


def test_what_is_nowhere_is_named():
    with pytest.raises(UserError, match="nowhere/at-all: no folder or reachable hub model"):
        local_folder("nowhere/at-all")


@pytest.fixture(scope="module")
def exported(teacher_folder, tmp_path_factory):
    """The tiny model as ``export`` lays it out, the graph in float32 alone."""
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx")
    folder = tmp_path_factory.mktemp("exported")
    for file in teacher_folder.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    (folder / "onnx").mkdir()
    export_graph(RobertaForQuestionAnswering.from_pretrained(teacher_folder), folder / "onnx" / "model.onnx", INPUTS)
    return folder


def test_onnx_gives_the_logits_of_torch(exported):
    backend = load_backend(str(exported), "onnx")
    assert torch.allclose(backend(INPUTS), load_backend(str(exported), "torch")(INPUTS), atol=1e-4)
    assert backend.num_parameters is None


def test_onnx_gives_the_answers_of_torch(exported):
    questions = [f"¿Dónde nació {i}?" for i in range(8)]
    contexts = [CONTEXT * (1 + i % 3) for i in range(8)]
    answers = []
    for name in ("torch", "onnx"):
        answerer = QuestionAnswerer.from_pretrained(str(exported), backend=name)
        answers.append([answer["answer"] for answer in answerer(questions, contexts)])
    assert answers[0] == answers[1]


def test_a_precision_that_was_not_exported_is_named(exported):
    with pytest.raises(UserError, match=r"model_int8\.onnx"):
        load_backend(str(exported), "onnx", "int8")
