import math

import pytest
import torch

from distill.export.graph import export_graph
from distill.export.quantization import (
    divergence,
    log_probabilities,
    quantizable_operators,
    quantize,
    write_int8,
)
from distill.export.runtime import OnnxModel
from distill.tasks.question_answering.task import QuestionAnswering
from distill.types import Batch
from tests.export.conftest import tiny_model, windows

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

TASK = QuestionAnswering()


@pytest.fixture(scope="module")
def roberta():
    with torch.random.fork_rng(devices=[]):
        return tiny_model("roberta")


@pytest.fixture
def batches(roberta):
    return sample(roberta)


@pytest.fixture
def float_file(roberta, tmp_path):
    export_graph(roberta, tmp_path / "model.onnx", ["input_ids", "attention_mask"])
    return tmp_path / "model.onnx"


def sample(model):
    return [Batch(windows(model, lengths), {}, torch.arange(len(lengths))) for lengths in ([30, 20], [25, 9])]


def dtypes(file):
    return {tensor.name: tensor.data_type for tensor in onnx.load(file).graph.initializer}


def test_divergence_by_hand():
    p, q = torch.tensor([[0.5, 0.5], [1.0, 0.0]]), torch.tensor([[0.25, 0.75], [0.5, 0.5]])
    # A class without probability costs nothing, as in the limit; padding is such a class.
    log_p = p.log().clamp_min(-1e30)
    by_hand = (0.5 * math.log(0.5 / 0.25) + 0.5 * math.log(0.5 / 0.75) + math.log(1 / 0.5)) / 2
    assert divergence([q.log()], [log_p]) == pytest.approx(by_hand)
    # Batches of different sizes count by their rows.
    assert divergence([q[:1].log(), q[1:].log()], [log_p[:1], log_p[1:]]) == pytest.approx(by_hand)
    assert divergence([], []) == 0


def test_padding_has_no_part_in_the_divergence(roberta):
    batch = windows(roberta, [30, 20])
    noise = torch.where(batch["attention_mask"].bool(), batch["input_ids"], 7)
    plain, noisy = (
        log_probabilities(roberta, TASK, [Batch({**batch, "input_ids": ids}, {}, torch.arange(2))])
        for ids in (batch["input_ids"], noise)
    )
    assert divergence(noisy, plain) == pytest.approx(0, abs=1e-6)


def test_operators_are_the_products_with_weights_and_the_embeddings(float_file):
    names = quantizable_operators(float_file)
    # Six in each of two layers and the head; the products of queries with keys have no weights.
    assert sum("MatMul" in name for name in names) == 13
    assert sum("Gather" in name for name in names) == 3


def test_everything_is_quantized_when_the_answers_bear_it(float_file, tmp_path, batches):
    result = quantize(float_file, tmp_path / "int8.onnx", TASK, batches, max_divergence=math.inf)
    assert result.quantized == tuple(quantizable_operators(float_file))
    assert result.kept == ()
    stored = dtypes(tmp_path / "int8.onnx")
    assert sum(dtype == onnx.TensorProto.INT8 for dtype in stored.values()) >= len(result.quantized)
    found = log_probabilities(OnnxModel(tmp_path / "int8.onnx"), TASK, batches)
    expected = log_probabilities(OnnxModel(float_file), TASK, batches)
    assert result.divergence == pytest.approx(divergence(found, expected))
    assert result.divergence > 0


def test_every_family_can_be_quantized_whole(model, tmp_path):
    export_graph(model, tmp_path / "model.onnx", ["input_ids", "attention_mask", "token_type_ids"])
    result = quantize(tmp_path / "model.onnx", tmp_path / "int8.onnx", TASK, sample(model), max_divergence=math.inf)
    assert sum("MatMul" in name for name in result.quantized) >= 13
    assert sum("mbedding" in name for name in result.quantized) >= 2
    assert 0 < result.divergence < 1


def test_weights_have_a_scale_for_each_output_channel(float_file, tmp_path):
    name = next(name for name in quantizable_operators(float_file) if "layer.0/intermediate" in name)
    write_int8(float_file, tmp_path / "int8.onnx", [name])
    scales = [t for t in onnx.load(tmp_path / "int8.onnx").graph.initializer if t.name.endswith("_scale")]
    assert [list(scale.dims) for scale in scales] == [[32]]


def test_most_sensitive_operators_stay_in_float(float_file, tmp_path, batches):
    all_of_it = quantize(float_file, tmp_path / "all.onnx", TASK, batches, max_divergence=math.inf)
    limit = all_of_it.divergence / 2
    result = quantize(float_file, tmp_path / "int8.onnx", TASK, batches, max_divergence=limit)
    assert 0 < len(result.kept) < len(all_of_it.quantized)
    assert set(result.kept) | set(result.quantized) == set(all_of_it.quantized)
    assert result.divergence <= limit
    expected = log_probabilities(OnnxModel(float_file), TASK, batches)

    def alone(operator):
        write_int8(float_file, tmp_path / "alone.onnx", [operator])
        return divergence(log_probabilities(OnnxModel(tmp_path / "alone.onnx"), TASK, batches), expected)

    assert min(map(alone, result.kept)) >= max(map(alone, result.quantized))
    # One fewer would not have been enough.
    write_int8(float_file, tmp_path / "fewer.onnx", [*result.quantized, result.kept[-1]])
    fewer = log_probabilities(OnnxModel(tmp_path / "fewer.onnx"), TASK, batches)
    assert divergence(fewer, expected) > limit


def test_same_graph_and_batches_give_the_same_file(float_file, tmp_path, batches):
    for name in ("one.onnx", "two.onnx"):
        quantize(float_file, tmp_path / name, TASK, batches, max_divergence=1e-4)
    assert (tmp_path / "one.onnx").read_bytes() == (tmp_path / "two.onnx").read_bytes()


def test_nothing_is_quantized_when_nothing_may_change(float_file, tmp_path, batches):
    result = quantize(float_file, tmp_path / "int8.onnx", TASK, batches, max_divergence=0.0)
    assert result.quantized == ()
    assert result.divergence == pytest.approx(0, abs=1e-9)
    assert onnx.TensorProto.INT8 not in dtypes(tmp_path / "int8.onnx").values()
