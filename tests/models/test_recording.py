"""Recordings against what transformers itself returns with eager attention, family by family."""

from __future__ import annotations

import gc
import pickle
import threading
import weakref
from pathlib import Path

import pytest
import torch
from torch import Tensor
from transformers import (
    AlbertConfig,
    AutoModelForQuestionAnswering,
    BertConfig,
    DebertaV2Config,
    DistilBertConfig,
    ElectraConfig,
    GPT2Config,
    LlamaConfig,
    MPNetConfig,
    PreTrainedConfig,
    PreTrainedModel,
    RobertaConfig,
    SplinterConfig,
    XLMRobertaConfig,
)
from transformers.integrations.sdpa_attention import sdpa_attention_forward

import distill.models.recording as recording_module
from distill.models.recording import Recorder, known_padding, model_shape, record
from distill.types import Batch, ModelShape, Recording, RecordingPlan, UserError

SIZES = {
    "vocab_size": 50,
    "hidden_size": 16,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 20,
    "max_position_embeddings": 24,
}
CONFIGS: dict[str, PreTrainedConfig] = {
    "bert": BertConfig(**SIZES),
    "roberta": RobertaConfig(**SIZES, type_vocab_size=1),
    "xlm-roberta": XLMRobertaConfig(**SIZES, type_vocab_size=1),
    "electra": ElectraConfig(**SIZES, embedding_size=12),
    "distilbert": DistilBertConfig(
        vocab_size=50, dim=16, n_layers=3, n_heads=4, hidden_dim=20, max_position_embeddings=24
    ),
}
FULL_PLAN = RecordingPlan(frozenset(range(4)), frozenset(range(3)))


def read_logits(output: object) -> Tensor:
    return torch.stack([output.start_logits, output.end_logits], dim=-1)


def build(config: PreTrainedConfig, attention: str = "sdpa") -> PreTrainedModel:
    torch.manual_seed(0)
    model = AutoModelForQuestionAnswering.from_config(config, attn_implementation=attention)
    for parameter in model.parameters():
        if parameter.dim() > 1:  # larger than the usual start, so that attention is far from uniform
            torch.nn.init.normal_(parameter, std=0.5)
    return model.eval()


@pytest.fixture(params=list(CONFIGS))
def config(request: pytest.FixtureRequest) -> PreTrainedConfig:
    return CONFIGS[request.param]


@pytest.fixture
def inputs() -> dict[str, Tensor]:
    mask = torch.tensor([[1] * 9, [1] * 6 + [0] * 3])
    return {"input_ids": torch.arange(18).reshape(2, 9) * mask + 4, "attention_mask": mask}


@pytest.fixture
def bert() -> PreTrainedModel:
    return build(CONFIGS["bert"])


def test_equals_eager(config: PreTrainedConfig, inputs: dict[str, Tensor]) -> None:
    eager = build(config, "eager")(**inputs, output_attentions=True, output_hidden_states=True)
    recording = Recorder(build(config)).record(inputs, FULL_PLAN, read_logits)

    real = inputs["attention_mask"].bool()
    for state in range(4):
        torch.testing.assert_close(recording.hidden_states[state][real], eager.hidden_states[state][real])
    for layer in range(3):
        query, key, _, scaling = recording.attentions[layer]
        scores = scaling * query @ key.transpose(-1, -2)
        probabilities = scores.masked_fill(~real[:, None, None, :], float("-inf")).softmax(-1)
        expected = eager.attentions[layer]
        assert expected[0].std() > 0.02
        for window, length in enumerate(real.sum(1).tolist()):
            torch.testing.assert_close(
                probabilities[window, :, :length], expected[window, :, :length], rtol=1e-5, atol=1e-5
            )


def test_logits_are_bitwise_those_without_recording(config: PreTrainedConfig, inputs: dict[str, Tensor]) -> None:
    for mask in (inputs["attention_mask"], torch.ones_like(inputs["attention_mask"])):
        inputs["attention_mask"] = mask
        plain = read_logits(build(config)(**inputs))
        recorded = Recorder(build(config)).record(inputs, FULL_PLAN, read_logits).logits
        assert torch.equal(recorded, plain)


def test_values_are_recorded_where_they_are_asked_for(bert: PreTrainedModel, inputs: dict[str, Tensor]) -> None:
    plan = RecordingPlan(frozenset({1}), frozenset({0, 1}), values=frozenset({1}))
    recording = Recorder(bert).record(inputs, plan, read_logits)
    assert recording.attentions[0].value is None
    attention = bert.bert.encoder.layer[1].attention.self
    expected = attention.value(recording.hidden_states[1]).view(2, 9, 4, 4).transpose(1, 2)
    torch.testing.assert_close(recording.attentions[1].value, expected)


def test_keeps_only_what_is_named(bert: PreTrainedModel, inputs: dict[str, Tensor]) -> None:
    recording = Recorder(bert).record(inputs, RecordingPlan(frozenset({3}), frozenset({1}), logits=False), read_logits)
    assert recording.hidden_states.keys() == {3}
    assert recording.attentions.keys() == {1}
    assert recording.logits is None


@pytest.mark.parametrize(
    ("plan", "depth"),
    [
        (RecordingPlan(), 3),
        (RecordingPlan(frozenset({0}), frozenset({0})), 3),
        (RecordingPlan(frozenset({0, 3}), logits=False), 3),
        (RecordingPlan(frozenset({1}), frozenset({1}), logits=False), 2),
        (RecordingPlan(frozenset({1}), logits=False), 1),
        (RecordingPlan(frozenset({0}), logits=False), 0),
        (RecordingPlan(logits=False), 0),
    ],
)
def test_layers_behind_the_last_one_needed_do_not_run(
    config: PreTrainedConfig, inputs: dict[str, Tensor], plan: RecordingPlan, depth: int
) -> None:
    model = build(config)
    whole = Recorder(model).record(inputs, FULL_PLAN, read_logits)
    ran: list[Tensor] = []
    layers = next(m for m in model.modules() if isinstance(m, torch.nn.ModuleList) and len(m) == 3)
    for layer in layers:
        layer.register_forward_hook(lambda _, __, output: ran.append(output))
    recording = Recorder(model).record(inputs, plan, read_logits)
    assert (len(ran), plan.depth(3)) == (depth, depth)
    assert recording.hidden_states.keys() == plan.hidden_states
    assert recording.attentions.keys() == plan.attentions
    assert all(torch.equal(value, whole.hidden_states[state]) for state, value in recording.hidden_states.items())
    for layer, kept in recording.attentions.items():
        assert all(
            torch.equal(value, other) for value, other in zip(kept[:2], whole.attentions[layer][:2], strict=True)
        )
    assert torch.equal(Recorder(model).record(inputs, FULL_PLAN, read_logits).logits, whole.logits)


def test_model_shape(config: PreTrainedConfig) -> None:
    assert model_shape(config) == model_shape(build(config)) == ModelShape(3, 16, 4)


def test_gradients_flow_through_recorded_tensors(config: PreTrainedConfig, inputs: dict[str, Tensor]) -> None:
    model = build(config)
    recording = Recorder(model).record(inputs, FULL_PLAN, read_logits)
    attention = recording.attentions[2]
    (recording.hidden_states[0].sum() + (attention.query * attention.key).sum()).backward()
    assert model.get_input_embeddings().weight.grad.any()


def test_no_gradients_when_the_caller_switched_them_off(bert: PreTrainedModel, inputs: dict[str, Tensor]) -> None:
    with torch.no_grad():
        recording = Recorder(bert).record(inputs, FULL_PLAN, read_logits)
    assert not recording.attentions[0].query.requires_grad


def test_nothing_is_kept_after_the_call(bert: PreTrainedModel, inputs: dict[str, Tensor]) -> None:
    recorder = Recorder(bert)
    with torch.no_grad():
        recording = recorder.record(inputs, FULL_PLAN, read_logits)
    kept = [weakref.ref(recording.hidden_states[2]), weakref.ref(recording.attentions[0].query)]
    del recording
    gc.collect()
    assert all(reference() is None for reference in kept)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in bert.modules())


def test_a_failed_call_leaves_no_trace(bert: PreTrainedModel, inputs: dict[str, Tensor]) -> None:
    recorder = Recorder(bert)
    with pytest.raises(IndexError):
        recorder.record({**inputs, "input_ids": inputs["input_ids"] + 1000}, FULL_PLAN, read_logits)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in bert.modules())
    empty = recorder.record(inputs, RecordingPlan(), read_logits)
    assert not empty.attentions
    assert not empty.hidden_states


def test_two_models_record_apart(inputs: dict[str, Tensor]) -> None:
    """The student's and the teacher's recordings, also when made at once in two threads."""
    recorders = [Recorder(build(CONFIGS[name])) for name in ("bert", "distilbert")]
    alone = [recorder.record(inputs, FULL_PLAN, read_logits) for recorder in recorders]
    together: dict[int, list[Recording]] = {0: [], 1: []}

    def run(index: int) -> None:
        for _ in range(5):
            together[index].append(recorders[index].record(inputs, FULL_PLAN, read_logits))

    threads = [threading.Thread(target=run, args=(index,)) for index in together]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for index, recordings in together.items():
        assert len(recordings) == 5
        for recording in recordings:
            for layer in range(3):
                assert torch.equal(recording.attentions[layer].query, alone[index].attentions[layer].query)


def test_an_eager_model_is_switched_to_recordable_attention(inputs: dict[str, Tensor]) -> None:
    recording = record(build(CONFIGS["bert"], "eager"), inputs, FULL_PLAN, read_logits)
    assert recording.attentions.keys() == {0, 1, 2}


def test_a_recorded_model_saves_and_pickles_as_before(
    bert: PreTrainedModel, inputs: dict[str, Tensor], tmp_path: Path
) -> None:
    expected = Recorder(bert).record(inputs, FULL_PLAN, read_logits).logits
    bert.save_pretrained(tmp_path)
    assert "distill" not in (tmp_path / "config.json").read_text()
    loaded = AutoModelForQuestionAnswering.from_pretrained(tmp_path)
    assert torch.equal(read_logits(loaded(**inputs)), expected)
    copy = pickle.loads(pickle.dumps(bert))
    assert torch.equal(read_logits(copy(**inputs)), expected)


@pytest.mark.parametrize(
    "family",
    [
        DebertaV2Config(**SIZES, relative_attention=True, pos_att_type=["c2p", "p2c"]),
        MPNetConfig(**SIZES),
        SplinterConfig(**SIZES),
    ],
    ids=["deberta-v2", "mpnet", "splinter"],
)
def test_families_without_the_interface_give_states_but_no_attention(
    family: PreTrainedConfig, inputs: dict[str, Tensor]
) -> None:
    recorder = Recorder(build(family, "eager"))
    with pytest.raises(UserError, match=f"{family.model_type!r} does not give away its queries and keys"):
        recorder.check(RecordingPlan(attentions=frozenset({0})))
    recording = recorder.record(inputs, RecordingPlan(hidden_states=frozenset(range(4))), read_logits)
    expected = build(family, "eager")(**inputs, output_hidden_states=True).hidden_states
    for state in range(4):
        torch.testing.assert_close(recording.hidden_states[state], expected[state])


@pytest.mark.parametrize(
    "family",
    [LlamaConfig(**SIZES), GPT2Config(vocab_size=SIZES["vocab_size"], n_embd=16, n_layer=3, n_head=2)],
    ids=["llama", "gpt2"],
)
def test_decoders_compute_what_they_do_without_recording(family: PreTrainedConfig, inputs: dict[str, Tensor]) -> None:
    inputs = {name: inputs[name] for name in ("input_ids", "attention_mask")}
    expected = read_logits(build(family, "eager")(**inputs))
    recording = Recorder(build(family, "eager")).record(inputs, RecordingPlan(), read_logits)
    real = inputs["attention_mask"].bool()
    torch.testing.assert_close(recording.logits[real], expected[real])


def test_shared_layers_are_refused(inputs: dict[str, Tensor]) -> None:
    recorder = Recorder(build(AlbertConfig(**SIZES, embedding_size=8)))
    for plan in (RecordingPlan(hidden_states=frozenset({1})), RecordingPlan(attentions=frozenset({0}))):
        with pytest.raises(UserError, match=r"'albert' has no stack of 3 distinct layers to record"):
            recorder.check(plan)
    assert recorder.record(inputs, RecordingPlan(), read_logits).logits is not None


@pytest.mark.parametrize(
    ("plan", "message"),
    [
        (RecordingPlan(hidden_states=frozenset({4})), "cannot record hidden state 4 of a 'bert' model: it has 0 to 3"),
        (RecordingPlan(attentions=frozenset({3})), "cannot record attention layer 3 of a 'bert' model: it has 0 to 2"),
    ],
)
def test_layers_that_do_not_exist_are_errors(bert: PreTrainedModel, plan: RecordingPlan, message: str) -> None:
    with pytest.raises(UserError, match=message):
        Recorder(bert).check(plan)


@pytest.mark.parametrize(("needs_gradient", "expected"), [(True, torch.float32), (False, torch.bfloat16)])
def test_bfloat16_attention_is_widened_where_it_is_slow(
    bert: PreTrainedModel,
    inputs: dict[str, Tensor],
    monkeypatch: pytest.MonkeyPatch,
    needs_gradient: bool,
    expected: torch.dtype,
) -> None:
    seen = []

    def attend(module: torch.nn.Module, query: Tensor, key: Tensor, value: Tensor, **kwargs: object) -> object:
        seen.extend((query.dtype, key.dtype, value.dtype))
        return sdpa_attention_forward(module, query, key, value, **kwargs)

    monkeypatch.setattr(recording_module, "sdpa_attention_forward", attend)
    recorder = Recorder(bert)
    with torch.set_grad_enabled(needs_gradient), torch.autocast("cpu", dtype=torch.bfloat16):
        logits = recorder.record(inputs, RecordingPlan(), read_logits).logits
    assert set(seen) == {expected}
    assert len(seen) == 3 * 3
    assert logits.dtype == torch.bfloat16


def test_gradients_under_bfloat16_are_close_to_those_of_float32(
    bert: PreTrainedModel, inputs: dict[str, Tensor]
) -> None:
    weight = bert.bert.encoder.layer[0].attention.self.query.weight
    gradients = []
    for enabled in (False, True):
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=enabled):
            logits = Recorder(bert).record(inputs, RecordingPlan(), read_logits).logits
        logits.float()[inputs["attention_mask"].bool()].square().sum().backward()
        gradients.append(weight.grad.clone())
        weight.grad = None
    exact, low = gradients
    # Weights this sharp amplify the 8 bits of the layers around; the bfloat16 kernel errs by as much.
    assert (low - exact).norm() / exact.norm() < 0.15


@pytest.mark.parametrize(("is_padded", "is_masked"), [(False, False), (True, True), (None, True)])
def test_a_device_is_never_asked_whether_a_batch_is_padded(
    config: PreTrainedConfig, monkeypatch: pytest.MonkeyPatch, is_padded: bool | None, is_masked: bool
) -> None:
    """A tensor on the meta device has no values: whoever reads one fails."""
    masks = []

    def attend(module: torch.nn.Module, *args: object, attention_mask: Tensor | None, **kwargs: object) -> object:
        masks.append(attention_mask)
        return sdpa_attention_forward(module, *args, attention_mask=attention_mask, **kwargs)

    monkeypatch.setattr(recording_module, "sdpa_attention_forward", attend)
    inputs = {"input_ids": torch.arange(18).reshape(2, 9) + 4, "attention_mask": torch.ones(2, 9, dtype=torch.int64)}
    there = {name: tensor.to("meta") for name, tensor in inputs.items()}
    with known_padding(Batch(there, {}, torch.arange(2), is_padded=is_padded)):
        recording = Recorder(build(config).to("meta")).record(there, FULL_PLAN, read_logits)
    assert recording.logits.shape == (2, 9, 2)
    assert [mask is not None for mask in masks] == [is_masked] * 3
    assert all(mask is None or mask.shape == (2, 1, 9, 9) for mask in masks)
