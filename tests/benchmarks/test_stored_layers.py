"""What is stored of layers is what the teacher gave, to 8 bits; how fast or good a student gets is not asserted."""

import json

import pytest
import torch

from distill.data.datamodule import SquadDataModule
from distill.losses.attention import AttentionLoss
from distill.losses.hidden import HiddenStateLoss
from distill.models.layer_map import map_layers
from distill.models.loading import load_frozen
from distill.models.recording import model_shape
from distill.tasks.question_answering.task import QuestionAnswering
from distill.teaching.sources import ModelSource
from distill.types import Recording, RecordingPlan

from .layer_store import Codec, StoredLayers
from .stored_layers import main, write_part

PLAN = RecordingPlan(frozenset({0, 2}), frozenset({1}), logits=False)


def test_rows_of_as_many_dimensions_as_are_kept_lose_their_eighth_bit_alone():
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(50, 2, 3, generator=generator) @ torch.randn(2, 3, 8, generator=generator).unsqueeze(0)[:, 0] + 5
    for width in (3, 8):
        codec = Codec.fit(rows, width)
        codes, scales = codec.encode(rows)
        assert codes.shape == (50, 2, width)
        assert codes.abs().max() <= 127
        error = (codec.decode(codes, scales) - rows).norm(dim=-1)
        # Half a step in every component, and a float16's worth of the scale.
        assert (error <= (0.5 + 127 * 2**-11) * width**0.5 * scales + 1e-4).all()


def test_code_by_hand():
    codec = Codec(torch.tensor([[[1.0, 1.0]]]), torch.eye(2)[None])
    codes, scales = codec.encode(torch.tensor([[[255.0, -63.0]], [[1.0, 1.0]]]))
    assert codes.tolist() == [[[127.0, -32.0]], [[0.0, 0.0]]]
    assert scales[0].item() == 2.0
    assert codec.decode(codes, scales).tolist() == [[[255.0, -63.0]], [[1.0, 1.0]]]


@pytest.fixture
def windows(squad_file, teacher_folder, tmp_path):
    files = {"train_files": [str(squad_file)], "validation_files": [str(squad_file)]}
    data = SquadDataModule(
        tokenizer=str(teacher_folder), **files, max_length=64, doc_stride=8, max_question_length=24, cache_dir=tmp_path
    )
    data.setup("fit")
    return data.train_dataloader().dataset


@pytest.fixture
def teacher(teacher_folder):
    task = QuestionAnswering()
    return ModelSource(load_frozen(task, str(teacher_folder)), task)


def test_stored_layers_are_the_teachers_whatever_batch_they_are_read_in(teacher, windows, tmp_path):
    width = teacher.model.config.hidden_size
    stored = StoredLayers(teacher, windows, PLAN, width, tmp_path)
    order = torch.tensor(windows.lengths).argsort().tolist()
    batch = windows[[order[-1], order[0]]]
    live, read = teacher.record(batch, PLAN), stored.record(batch, PLAN)
    mask = batch.attention_mask.bool()
    for given, found in zip(tensors(live), tensors(read), strict=True):
        assert found.shape == given.shape
        assert not found[~mask].any()
        spread = (given[mask] - given[mask].mean(0)).abs().max()
        assert (found[mask] - given[mask]).abs().max() <= spread / 100
    alone = windows[[order[0]]]
    length = int(alone.attention_mask.sum())
    for joint, single in zip(tensors(read), tensors(stored.record(alone, PLAN)), strict=True):
        assert torch.allclose(joint[1, :length], single[0, :length], atol=1e-6)
    with pytest.raises(ValueError, match="cannot serve"):
        stored.record(batch, RecordingPlan(logits=True))


def tensors(recording: Recording) -> list[torch.Tensor]:
    """Return what was recorded, each (B, S, D)."""
    heads = [part for layer in recording.attentions.values() for part in (layer.query, layer.key)]
    states = [recording.hidden_states[state] for state in sorted(recording.hidden_states)]
    return [*states, *(part.transpose(1, 2).flatten(2) for part in heads)]


def test_losses_against_stored_layers_are_those_against_the_teacher(teacher, windows, tmp_path):
    shape = model_shape(teacher.model)
    stored = StoredLayers(teacher, windows, PLAN, shape.hidden_size, tmp_path)
    batch, task, layer_map = windows[[0, 1, 2]], QuestionAnswering(), map_layers([1])
    generator = torch.Generator().manual_seed(1)
    live, read = teacher.record(batch, PLAN), stored.record(batch, PLAN)
    state = torch.randn(live.hidden_states[2].shape, generator=generator)
    shaped = live.attentions[1]
    query, key = (torch.randn(shaped.query.shape, generator=generator) for _ in range(2))
    student = Recording(hidden_states={1: state}, attentions={0: shaped._replace(query=query, key=key)})
    for loss in (HiddenStateLoss(projection="none"), AttentionLoss()):
        loss.bind(shape, shape, layer_map, task)
        losses = [loss(student, teacher_part, batch).value.item() for teacher_part in (live, read)]
        assert losses[1] == pytest.approx(losses[0], rel=1e-2)


def test_bytes_of_a_window_are_codes_and_scales_of_real_tokens(teacher, windows, tmp_path):
    stored = StoredLayers(teacher, windows, PLAN, 4, tmp_path)
    parts = 4  # two states, queries and keys of a layer
    expected = windows.lengths.mean() * parts * (4 + 2)
    assert stored.window_bytes * len(windows.lengths) == pytest.approx(expected * len(windows.lengths), abs=2 * 160)


def test_part_of_the_questions_is_taken_from_all_articles(tmp_path):
    document = {"data": [{"title": name, "paragraphs": [f"{name}{i}" for i in range(6)]} for name in "ab"]}
    (tmp_path / "all.json").write_text(json.dumps(document), encoding="utf-8")
    write_part(tmp_path / "all.json", tmp_path / "part.json", 0.5)
    part = json.loads((tmp_path / "part.json").read_text(encoding="utf-8"))
    assert [article["paragraphs"] for article in part["data"]] == [["a0", "a2", "a4"], ["b0", "b2", "b4"]]


@pytest.mark.slow
def test_short_comparison_ends_with_its_table(tmp_path, capsys):
    main(str(tmp_path / "out.json"), widths=[8], seeds=[1], share=0.01, layer_steps=2, logit_steps=2, timed_steps=2)
    result = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))
    assert {name: list(arm["f1"]) for name, arm in result["arms"].items()} == {
        "8 components": ["1"],
        "running teacher": ["1"],
    }
    assert "8 components" in capsys.readouterr().out
