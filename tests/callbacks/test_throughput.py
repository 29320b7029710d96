"""Tokens and arithmetic of every stage, logged and in the report."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from lightning.pytorch.loggers import CSVLogger

from distill.callbacks.checkpoints import LastCheckpoint
from distill.callbacks.report import Report
from distill.callbacks.stages import StageSchedule
from distill.callbacks.throughput import Throughput
from distill.data.datamodule import SquadDataModule
from distill.models.student import Student
from distill.modules.distillation import DistillationModule
from distill.reporting.throughput import ModelSize
from distill.stages import Stage
from distill.types import UserError

from .fakes import tiny_trainer

STAGES = {
    "labels": Stage({"labels": 1.0}, steps=2),
    "hidden": Stage({"hidden": 1.0}, steps=3),
    "logits": Stage({"logits": 1.0}, steps=1),
}


class CountingThroughput(Throughput):
    """Also writes down what every batch of a stage held."""

    def __init__(self, **settings) -> None:
        super().__init__(**settings)
        self.seen: dict[str, list[torch.Tensor]] = {}

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx) -> None:
        self.seen.setdefault(pl_module.active_stage.name, []).append(batch.attention_mask.sum(-1))
        super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)


@pytest.fixture
def fit(squad_file, teacher_folder, tmp_path):
    def run(throughput, *callbacks, stages=STAGES, ckpt_path=None, **settings):
        module = DistillationModule(
            teacher=str(teacher_folder), student=Student(num_layers=2, hidden_size=8, num_heads=2)
        )
        data = SquadDataModule(
            tokenizer=str(teacher_folder), train_files=[str(squad_file)], validation_files=[str(squad_file)],
            max_length=64, doc_stride=8, max_question_length=24, batch_size=6, cache_dir=str(tmp_path / "cache"),
        )  # fmt: skip
        trainer = tiny_trainer(
            tmp_path,
            [StageSchedule(stages), throughput, *callbacks],
            **{"max_epochs": -1, "use_distributed_sampler": False, **settings},
        )
        trainer.fit(module, data, ckpt_path=ckpt_path)
        return module

    return run


def test_tokens_and_arithmetic_of_each_stage(fit):
    throughput = CountingThroughput(peak_size=16)
    module = fit(throughput)
    student, teacher = ModelSize.of(module.student), ModelSize.of(module.teacher)
    stages = throughput.result["stages"]
    assert list(stages) == ["labels", "hidden", "logits"]
    for name, (student_head, teacher_runs, teacher_head) in {
        "labels": (True, False, False),
        "hidden": (False, True, False),
        "logits": (True, True, True),
    }.items():
        expected = 0.0
        for lengths in throughput.seen[name]:
            num_tokens = int(lengths.sum())
            expected += 3 * student.forward_flops(lengths, num_tokens * student_head).item()
            expected += teacher_runs * teacher.forward_flops(lengths, num_tokens * teacher_head).item()
        line = stages[name]
        assert line["num_batches"] == STAGES[name].steps
        assert line["num_tokens"] == sum(int(lengths.sum()) for lengths in throughput.seen[name])
        assert line["model_flops_per_second"] * line["seconds"] == pytest.approx(expected)
        assert line["tokens_per_second"] * line["seconds"] == pytest.approx(line["num_tokens"])
        assert line["peak_share"] == pytest.approx(
            line["model_flops_per_second"] / throughput.result["peak"]["flops_per_second"]
        )
    total = throughput.result["total"]
    assert total["num_tokens"] == sum(line["num_tokens"] for line in stages.values())
    assert total["seconds"] == pytest.approx(sum(line["seconds"] for line in stages.values()))
    assert throughput.result["peak"] == {
        "flops_per_second": pytest.approx(throughput.result["peak"]["flops_per_second"]),
        "dtype": "float32",
        "matrix_size": 16,
    }


def test_layers_that_no_loss_needs_count_for_nothing(fit):
    throughput = CountingThroughput(peak_size=16)
    fit(throughput, stages={"embeddings": Stage({"embeddings": 1.0}, steps=2)})
    line = throughput.result["stages"]["embeddings"]
    assert (line["num_tokens"] > 0, line["model_flops_per_second"]) == (True, 0)


def test_rates_are_logged_as_often_as_the_trainer_logs_and_reported(fit, tmp_path):
    logger = CSVLogger(tmp_path, name="", version="run")
    fit(Throughput(peak_size=16), Report(), logger=logger, log_every_n_steps=2)
    rows = list(csv.DictReader((tmp_path / "run" / "metrics.csv").open(encoding="utf-8")))
    logged = [row for row in rows if row.get("throughput/tokens_per_second")]
    assert [int(row["step"]) for row in logged] == [1, 3, 5]
    assert all(
        float(row[f"throughput/{name}"]) > 0 for row in logged for name in ("model_flops_per_second", "peak_share")
    )
    report = json.loads((tmp_path / "run" / "report.json").read_text(encoding="utf-8"))
    assert report["throughput"]["total"]["num_batches"] == 6


def test_resumed_run_reports_the_whole(fit, tmp_path):
    short = {**STAGES, "logits": None, "hidden": replace(STAGES["hidden"], steps=1)}
    first = Throughput(peak_size=16)
    fit(first, LastCheckpoint(), stages=short, enable_checkpointing=True)
    second = Throughput(peak_size=16)
    fit(second, ckpt_path=tmp_path / "checkpoints" / "last.ckpt")
    stages = second.result["stages"]
    assert [line["num_batches"] for line in stages.values()] == [2, 3, 1]
    assert stages["labels"] == {
        **first.result["stages"]["labels"],
        "peak_share": pytest.approx(stages["labels"]["peak_share"]),
    }
    assert stages["hidden"]["seconds"] > first.result["stages"]["hidden"]["seconds"]


def test_trial_run_measures_no_peak(fit, monkeypatch):
    monkeypatch.setattr("distill.callbacks.throughput.matrix_peak", lambda *_: pytest.fail("the peak was measured"))
    throughput = Throughput()
    fit(throughput, fast_dev_run=True)
    assert throughput.result["peak"]["flops_per_second"] is None
    assert "peak_share" not in throughput.result["total"]


def test_models_are_left_without_hooks(fit):
    module = fit(Throughput(peak_size=16))
    assert not module.teacher._forward_hooks
    assert not module.student._forward_pre_hooks


def test_preparing_a_stage_loading_and_validating_are_not_timed(fit, monkeypatch):
    """Time stands still but for one second in every step of the student and an hour everywhere else."""
    now = [0.0]

    class Watched(Throughput):
        def on_train_batch_start(self, trainer, pl_module, batch, batch_idx) -> None:
            super().on_train_batch_start(trainer, pl_module, batch, batch_idx)
            now[0] += 3600.0

        def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx) -> None:
            now[0] += 1.0
            super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)
            now[0] += 3600.0

        def on_validation_start(self, trainer, pl_module) -> None:
            now[0] += 3600.0

    monkeypatch.setattr("distill.callbacks.throughput.matrix_peak", lambda *_: 1e9)
    monkeypatch.setattr("distill.reporting.throughput.time", SimpleNamespace(perf_counter=lambda: now[0]))
    throughput = Watched()
    fit(throughput)
    assert {name: line["seconds"] for name, line in throughput.result["stages"].items()} == {
        "labels": 2.0, "hidden": 3.0, "logits": 1.0
    }  # fmt: skip


def test_report_is_listed_behind(tmp_path):
    report = Report()
    with pytest.raises(UserError, match="list Throughput before Report"):
        report.setup(tiny_trainer(tmp_path, [report, Throughput()]), None, "fit")


def test_size_below_one_is_refused():
    with pytest.raises(UserError, match="peak_size must be at least 1"):
        Throughput(peak_size=0)
