"""All ways make the windows that they are compared by, and a second start finds them; no time is asserted."""

import json

import pytest

from distill.data.datamodule import SquadDataModule
from distill.models.loading import load_tokenizer

from . import data
from .data import STARTS, WAYS, example_windows, run, start, summarise


def _refuse(*_, **__):
    raise AssertionError("windows are made again")


@pytest.mark.parametrize("batched", [True, False])
def test_the_example_finds_the_windows_and_answers_that_distill_finds(teacher_folder, squad_file, tmp_path, batched):
    module = SquadDataModule(
        tokenizer=str(teacher_folder), validation_files=[str(squad_file)], max_length=64, doc_stride=8,
        max_question_length=40, cache_dir=str(tmp_path / "own"),
    )  # fmt: skip
    module.setup("validate")
    own = module.val_dataloader().dataset[list(range(len(module.val_dataloader().dataset)))]
    table = example_windows(squad_file, load_tokenizer(str(teacher_folder)), 64, 8, tmp_path, batched)
    assert len(own.window_ids) > 18
    assert table["start_positions"][:] == own.labels["start_positions"].tolist()
    assert table["end_positions"][:] == own.labels["end_positions"].tolist()
    assert [sum(mask) for mask in table["attention_mask"]] == own.attention_mask.sum(1).tolist()
    assert {len(ids) for ids in table["input_ids"]} == {64}


@pytest.mark.parametrize("way", WAYS)
def test_a_second_start_makes_no_windows(teacher_folder, squad_file, tmp_path, monkeypatch, way):
    settings = (way, str(squad_file), str(teacher_folder), 128, 16, str(tmp_path))
    first = start(*settings)
    assert first["windows"] == 18
    assert first["peak"] >= first["before"] > 0
    monkeypatch.setattr(data, "window_features", _refuse)
    monkeypatch.setattr("distill.data.datamodule.build_windows", _refuse)
    assert start(*settings)["windows"] == 18


def test_ratios_are_taken_round_by_round():
    def one(seconds, peak=300):
        return {"windows": 10, "seconds": {"processor": seconds, "wall": 2 * seconds}, "before": 100, "peak": peak}

    found = {"loop": {"first": [one(4.0), one(8.0)], "second": [one(1.0)] * 2}}
    found["distill"] = {"first": [one(1.0), one(4.0)], "second": [one(0.5, peak=150)] * 2}
    row = summarise(found)["distill"]
    assert row["processor"]["ratio"]["median"] == 3.0
    assert row["processor"]["windows_per_second"]["median"] == pytest.approx((10 + 2.5) / 2)
    assert row["wall"]["second_start"]["median"] == 1.0
    assert (row["first_memory"], row["second_memory"]) == (200, 50)


def test_the_command_prints_and_writes_every_way(teacher_folder, squad_file, tmp_path, monkeypatch, capsys):
    def rounds(number, *settings):
        return {way: {name: [start(way, *settings, str(tmp_path))] * number for name in STARTS} for way in WAYS}

    monkeypatch.setattr(data, "run_rounds", rounds)  # without processes of their own
    output = tmp_path / "data.json"
    run(str(squad_file), str(teacher_folder), str(output), max_length=128, doc_stride=16, rounds=2)
    found = json.loads(output.read_text(encoding="utf-8"))
    assert set(found["summary"]) == set(WAYS)
    assert "2nd start" in capsys.readouterr().out
