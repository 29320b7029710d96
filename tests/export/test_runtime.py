import builtins
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from distill.export.graph import export_graph
from distill.export.runtime import OnnxModel
from distill.reporting.latency import measure_latency, random_inputs
from distill.types import UserError
from tests.export.conftest import tiny_model, windows

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("export")
    inputs = ["input_ids", "attention_mask", "token_type_ids"]
    with torch.random.fork_rng(devices=[]):
        export_graph(tiny_model("bert"), folder / "onnx" / "model.onnx", inputs)
    return folder


def test_what_is_left_out_is_what_transformers_takes_in_its_place(folder):
    model, graph = tiny_model("bert"), OnnxModel.load(folder)
    input_ids = windows(model, [9, 9])["input_ids"]
    with torch.no_grad():
        expected = model(input_ids=input_ids)
    found = graph(input_ids=input_ids.int())
    torch.testing.assert_close(found.start_logits, expected.start_logits, atol=1e-5, rtol=0)
    torch.testing.assert_close(found.end_logits, expected.end_logits, atol=1e-5, rtol=0)
    assert found.start_logits.dtype == torch.float32


def test_token_types_change_nothing_where_the_model_has_none(tmp_path):
    model = tiny_model("distilbert")
    export_graph(model, tmp_path / "model.onnx", ["input_ids", "attention_mask", "token_type_ids"])
    graph = OnnxModel(tmp_path / "model.onnx")
    batch = windows(model, [9, 4])
    with_types = graph(**batch, token_type_ids=torch.ones_like(batch["input_ids"]))
    assert torch.equal(with_types.start_logits, graph(**batch).start_logits)


def test_foreign_input_is_refused(folder):
    graph = OnnxModel.load(folder)
    with pytest.raises(TypeError, match="not labels"):
        graph(input_ids=torch.ones(1, 4, dtype=torch.int64), labels=torch.ones(1))
    with pytest.raises(TypeError, match="input_ids is missing"):
        graph(attention_mask=torch.ones(1, 4, dtype=torch.int64))


def test_threads_get_the_answers_of_one(folder):
    graph = OnnxModel.load(folder)
    batches = [windows(tiny_model("bert"), [8 + i, 5]) for i in range(8)]
    alone = [graph(**batch).start_logits for batch in batches]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda batch: graph(**batch).start_logits, batches))
    assert all(torch.equal(one, other) for one, other in zip(alone, together, strict=True))


def test_it_is_timed_like_any_model(folder):
    timings = measure_latency(
        {"torch": tiny_model("bert"), "onnx": OnnxModel.load(folder)},
        random_inputs(300, 2, 8, torch.device("cpu"), 0),
        rounds=2,
        warmup=1,
        device=torch.device("cpu"),
    )
    assert timings["onnx"].p50_ms > 0


def test_number_of_threads_is_torchs_unless_given(folder, monkeypatch):
    onnxruntime = pytest.importorskip("onnxruntime")
    seen = []
    session = onnxruntime.InferenceSession

    def spy(file, options, **kwargs):
        seen.append(options.intra_op_num_threads)
        return session(file, options, **kwargs)

    monkeypatch.setattr(onnxruntime, "InferenceSession", spy)
    OnnxModel.load(folder)
    OnnxModel.load(folder, num_threads=2)
    assert seen == [torch.get_num_threads(), 2]


def test_wrong_files_are_one_line(folder, tmp_path):
    with pytest.raises(UserError, match=r"model_int8\.onnx: there is no such ONNX file"):
        OnnxModel.load(folder, dtype="int8")
    with pytest.raises(UserError, match="'int4' is unknown"):
        OnnxModel.load(folder, dtype="int4")
    (tmp_path / "model.onnx").write_bytes(b"no graph")
    with pytest.raises(UserError, match=r"model\.onnx: ONNX Runtime cannot load it") as error_info:
        OnnxModel(tmp_path / "model.onnx")
    assert "\n" not in str(error_info.value)


def test_missing_extra_is_named(tmp_path, monkeypatch):
    real = builtins.__import__

    def without_onnxruntime(name, *args, **kwargs):
        if name == "onnxruntime":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without_onnxruntime)
    with pytest.raises(UserError, match=r"pip install 'distill\[export\]'"):
        OnnxModel(tmp_path / "model.onnx")
