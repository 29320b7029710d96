"""A run of several tasks from the command line, in one process and in two."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from transformers import AutoModel, AutoModelForQuestionAnswering

from distill.cli import main

ROOT = Path(__file__).parents[2]


def settings_of(parts, teacher_folder) -> list[str]:
    """Return the command line of a small run of three tasks."""
    tasks = {
        name: {
            "task": {"class_path": "distill.QuestionAnswering"},
            "teacher": None if name == "labelled" else str(teacher_folder),
        }
        for name in parts
    }
    data = {
        name: {
            "class_path": "distill.SquadDataModule",
            "init_args": {
                "train_files": part.files["train"],
                "validation_files": part.files["validation"],
                "max_length": 64,
                "doc_stride": 8,
                "max_question_length": 24,
                "batch_size": 6,
                "cache_dir": str(part.cache_dir),
            },
        }
        for name, part in parts.items()
    }
    student = {"num_layers": 2, "hidden_size": 8, "num_heads": 2, "intermediate_size": 16}
    layers = {"attention": 1.0, "hidden": 1.0, "embeddings": 1.0}
    stages = {
        "intermediate": {"epochs": 1, "weights": layers, "tasks": ["many", "few"]},
        "logits": {"epochs": 2, "weights": {"logits": 1.0, "labels": 0.5}, "balance": 2},
    }
    return [
        "--model=distill.MultiTaskModule",
        f"--model.tasks={json.dumps(tasks)}",
        f"--model.student={json.dumps(student)}",
        "--data=distill.MultiTaskDataModule",
        f"--data.tasks={json.dumps(data)}",
        f"--schedule.stages={json.dumps(stages)}",
        *("--benchmark.lengths=[32]", "--benchmark.rounds=2", "--benchmark.warmup=0", "--throughput.peak_size=16"),
        *("--trainer.accelerator=cpu", "--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false"),
        "--trainer.log_every_n_steps=1",
    ]


@pytest.mark.slow
def test_a_whole_run_from_the_command_line(parts, teacher_folder, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    main(["fit", *settings_of(parts, teacher_folder)])
    run = tmp_path / "lightning_logs" / "version_0"
    report = json.loads((run / "report.json").read_text(encoding="utf-8"))
    assert list(report["tasks"]) == ["many", "few", "labelled"]
    for name, section in report["tasks"].items():
        assert (section["teacher"] is None) == (name == "labelled")
        assert section["majority"]["scores"]["f1"] == pytest.approx(100 / 3)  # every third question has no answer
        assert section["student"]["latency_ms"]["p50"] > 0
        assert section["data"]["train"]["source"] == f"{name}.json"
    assert report["student"]["mean"] == pytest.approx(
        sum(section["student"]["f1"] for section in report["tasks"].values()) / 3
    )
    assert report["checkpoints"]["rule"] == "best validation mean over tasks within the final stage"
    assert report["checkpoints"]["best"]["scores"]["mean"] == pytest.approx(report["student"]["mean"])
    assert report["separate_students"]["num_parameters"] > 2 * report["student"]["num_parameters"]
    printed = capsys.readouterr().out
    assert "majority" in printed
    assert "few: F1" in printed
    columns = (run / "metrics.csv").read_text(encoding="utf-8").splitlines()[0].split(",")
    assert {
        "many/val/f1",
        "few/train/logits/labels",
        "labelled/train/loss",
        "val/mean",
        "few/report/student/f1",
    } <= set(columns)
    assert "labelled/train/logits/logits" not in columns
    for name in report["tasks"]:
        assert (run / "tasks" / name / "outcomes.jsonl").is_file()
        assert (run / "tasks" / name / "samples.json").is_file()
    page = (run / "report.html").read_text(encoding="utf-8")
    assert all(f"Task: {name}" in page for name in report["tasks"])
    encoders = []
    for name in report["tasks"]:
        model, info = AutoModelForQuestionAnswering.from_pretrained(run / "student" / name, output_loading_info=True)
        assert not info["missing_keys"]
        assert not info["unexpected_keys"]
        encoders.append(model.roberta.encoder.layer[0].attention.self.query.weight)
        assert (run / "student" / name / "head.safetensors").stat().st_size < 2000
    assert torch.equal(encoders[0], encoders[1])
    shared = AutoModel.from_pretrained(run / "student" / "encoder", add_pooling_layer=False)
    assert torch.equal(shared.encoder.layer[0].attention.self.query.weight, encoders[0])

    checkpoint = run / "checkpoints" / "best.ckpt"
    with pytest.raises(SystemExit):
        main(["export", *settings_of(parts, teacher_folder), f"--ckpt_path={checkpoint}", "--output=exported"])
    assert "ONNX and INT8 are made of question answering alone" in capsys.readouterr().err
    main(["validate", *settings_of(parts, teacher_folder), f"--ckpt_path={checkpoint}"])
    again = tmp_path / "lightning_logs" / "version_1"
    for name in report["tasks"]:
        answers = json.loads((again / "tasks" / name / "predictions.json").read_text(encoding="utf-8"))
        rows = (run / "tasks" / name / "outcomes.jsonl").read_text(encoding="utf-8").splitlines()
        assert {row["id"]: row["student"]["prediction"] for row in map(json.loads, rows)} == answers


@pytest.mark.slow
def test_two_processes_with_uneven_tasks_end_together_and_alike(parts, teacher_folder, tmp_path):
    settings = settings_of(parts, teacher_folder)
    arguments = [sys.executable, str(ROOT / "train.py"), "fit", *settings, "--trainer.devices=2"]
    finished = subprocess.run(
        arguments, cwd=tmp_path, capture_output=True, text=True, timeout=600, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    assert finished.returncode == 0, finished.stderr
    report = json.loads((tmp_path / "lightning_logs" / "version_0" / "report.json").read_text(encoding="utf-8"))
    assert report["environment"]["num_devices"] == 2
    for name, section in report["tasks"].items():
        # Every question is scored, once, whatever process had it.
        assert section["student"]["scores"]["num_questions"] == section["data"]["validation"]["examples"], name
