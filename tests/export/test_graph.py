import builtins

import pytest
import torch

from distill.export.graph import export_graph, import_onnx
from distill.export.runtime import OnnxModel
from distill.types import UserError
from tests.export.conftest import tiny_model, windows

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

BATCH_INPUTS = ["input_ids", "attention_mask", "token_type_ids"]


def test_graph_answers_as_the_model_does_at_every_batch_size_and_length(model, tmp_path):
    file = tmp_path / "onnx" / "model.onnx"
    names = export_graph(model, file, BATCH_INPUTS)
    graph = OnnxModel(file)
    assert graph.input_names == names
    for lengths in ([5], [16, 11], [30, 2, 17], [40, 40, 40, 40], [120]):
        batch = windows(model, lengths)
        with torch.no_grad():
            expected = model(**batch)
        found = graph(**batch)
        is_real = batch["attention_mask"].bool()
        for name in ("start_logits", "end_logits"):
            torch.testing.assert_close(found[name][is_real], expected[name][is_real], atol=1e-5, rtol=0)


def test_graph_has_dynamic_axes_and_standard_operators_alone(tmp_path):
    export_graph(tiny_model("bert"), tmp_path / "model.onnx", BATCH_INPUTS)
    graph = onnx.load(tmp_path / "model.onnx")
    for value in (*graph.graph.input, *graph.graph.output):
        assert [axis.dim_param for axis in value.type.tensor_type.shape.dim] == ["batch", "sequence"]
    assert {opset.domain for opset in graph.opset_import} == {""}


def test_model_stays_as_it_was(tmp_path):
    model = tiny_model("roberta").to(torch.bfloat16).train()
    before = model.config.to_dict()
    export_graph(model, tmp_path / "model.onnx", ["input_ids", "attention_mask"])
    assert model.training
    assert model.dtype == torch.bfloat16
    assert model.config.to_dict() == before
    assert model.config._attn_implementation == "sdpa"


def test_what_cannot_be_traced_is_one_clear_error(tmp_path, monkeypatch):
    model = tiny_model("bert")

    def forward(input_ids, attention_mask):
        raise NotImplementedError("blocks of 64\nand a page of detail")

    monkeypatch.setattr(model, "forward", forward)
    with pytest.raises(UserError, match=r"^ONNX: models of the family 'bert' cannot be exported: blocks of 64$"):
        export_graph(model, tmp_path / "model.onnx", BATCH_INPUTS)


def test_too_large_a_model_is_refused_before_anything_is_copied(tmp_path, monkeypatch):
    monkeypatch.setattr("distill.export.graph.size_bytes", lambda *_: 2**31)
    monkeypatch.setattr("distill.export.graph.copy.deepcopy", lambda _: pytest.fail("the model was copied"))
    with pytest.raises(UserError, match="2 GB"):
        export_graph(tiny_model("bert"), tmp_path / "model.onnx", BATCH_INPUTS)


def test_missing_extra_is_named(monkeypatch):
    real = builtins.__import__

    def without_onnx(name, *args, **kwargs):
        if name == "onnx":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without_onnx)
    with pytest.raises(UserError, match=r"pip install 'distill\[export\]'"):
        import_onnx()
