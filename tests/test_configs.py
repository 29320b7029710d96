"""Every YAML under configs/ parses, and runs a batch on tiny models."""

import re
from pathlib import Path

import pytest
import yaml

from distill.cli import main

CONFIGS = Path(__file__).parents[1] / "configs"
RUNS = sorted(path for path in CONFIGS.rglob("*.yaml") if "controls" not in path.parts)
OVERLAYS = sorted((CONFIGS / "controls").glob("*.yaml"))


def run(command: str, *arguments: str) -> None:
    main([command, *arguments])


def tiny(teacher_folder, squad_file, tmp_path, model: str) -> list[str]:
    """Return the command-line arguments that shrink a configuration to tiny models and data."""
    if model.endswith("DistillationModule"):
        sizes = {"num_layers": 2, "hidden_size": 8, "num_heads": 2, "intermediate_size": 16}
        models = [f"--model.teacher={teacher_folder}", f"--model.student={sizes}"]
    else:
        sizes = {"num_hidden_layers": 2, "hidden_size": 8, "num_attention_heads": 2, "max_position_embeddings": 130}
        models = [f"--model.tokenizer={teacher_folder}", f"--model.architecture={ {'model_type': 'roberta', **sizes} }"]
    return [
        *models,
        f"--data.train_files=[{squad_file}]",
        f"--data.validation_files=[{squad_file}]",
        *("--data.max_length=64", "--data.doc_stride=8", "--data.max_question_length=24"),
        f"--data.cache_dir={tmp_path / 'cache'}",
        *("--benchmark.lengths=[32]", "--benchmark.rounds=2", "--benchmark.warmup=0", "--throughput.peak_size=16"),
        *("--trainer.accelerator=cpu", "--trainer.enable_progress_bar=false"),
    ]


def test_there_are_configurations():
    assert {path.name for path in RUNS} >= {"distill.yaml", "teacher.yaml"}
    assert OVERLAYS


@pytest.mark.parametrize("path", RUNS, ids=lambda path: path.stem)
def test_configuration_parses_and_runs_a_batch(path, teacher_folder, squad_file, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model = yaml.safe_load(path.read_text(encoding="utf-8"))["model"]["class_path"]
    run(
        *("fit", f"--config={path}", "--trainer.fast_dev_run=true"),
        *tiny(teacher_folder, squad_file, tmp_path, model),
    )
    assert not (tmp_path / "lightning_logs").exists()


@pytest.mark.parametrize("path", OVERLAYS, ids=lambda path: path.stem)
def test_overlay_runs_a_batch_on_top_of_its_base(path, teacher_folder, squad_file, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    base = CONFIGS / re.search(r"--config configs/(\w+\.yaml) --config", path.read_text(encoding="utf-8"))[1]
    model = yaml.safe_load(base.read_text(encoding="utf-8"))["model"]["class_path"]
    run(
        *("fit", f"--config={base}", f"--config={path}", "--trainer.fast_dev_run=true"),
        *tiny(teacher_folder, squad_file, tmp_path, model),
    )


@pytest.mark.parametrize("path", [*RUNS, *OVERLAYS], ids=lambda path: path.stem)
def test_configuration_opens_with_purpose_and_command(path):
    first, second = path.read_text(encoding="utf-8").splitlines()[:2]
    assert first.startswith("# Purpose:")
    assert second.startswith("# Command:  python train.py fit --config configs/")
