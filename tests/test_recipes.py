"""The published recipes, number for number, and the size of the models that they name.

The numbers are restated here from their sources; a configuration that drifts from them fails. Nothing is downloaded:
what lies on the hub stands here as the configuration that its author published, or as a folder of random weights.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from transformers import RobertaConfig, RobertaForQuestionAnswering

from distill.cli import main
from distill.models.student import Student
from distill.reporting.size import num_parameters
from distill.tasks.question_answering.task import QuestionAnswering
from tests.conftest import squad_document
from tests.test_configs import CONFIGS

RECIPES = CONFIGS / "recipes"

#: stevemobs/roberta-large-fine-tuned-squad-es, as its config.json has it (PlanTL-GOB-ES/roberta-large-bne fine-tuned).
LARGE = {
    "vocab_size": 50262,
    "num_hidden_layers": 24,
    "hidden_size": 1024,
    "num_attention_heads": 16,
    "intermediate_size": 4096,
    "max_position_embeddings": 514,
    "type_vocab_size": 1,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
    "layer_norm_eps": 1e-5,
    "pad_token_id": 1,
}

#: AdrianBZG/tinyroberta-distillation-qa-es at 29bad11: configs/tinyroberta.json, configs/distillation1.json,
#: constants.py, and, where these say nothing, distillation.py and modeling.py.
SPANISH_TINYROBERTA = {
    "seed_everything": 39812951,
    "model.teacher": "stevemobs/roberta-large-fine-tuned-squad-es",
    "model.student.num_layers": 6,
    "model.student.hidden_size": 512,
    "model.student.num_heads": 16,
    "model.student.intermediate_size": 3072,
    "model.student.init": "random",
    "model.student.vocabulary": "full",
    "model.layer_map.attention": [4 * i + 3 for i in range(6)],
    "model.layer_map.hidden": [4 * i for i in range(7)],
    "model.losses.attention.target": "probabilities",
    "model.losses.attention.mask_padding": False,
    "model.losses.attention.heads": "equal",
    "model.losses.hidden.projection": "shared",
    "model.losses.hidden.normalise": False,
    "model.losses.hidden.mask_padding": False,
    "model.losses.logits.kind": "kl",
    "model.losses.logits.mask_padding": False,
    "model.losses.labels.mask_padding": False,
    "model.optimizer.class_path": "torch.optim.AdamW",
    "model.optimizer.eps": 1e-8,
    "model.optimizer.weight_decay": 0.01,
    "model.optimizer.betas": [0.9, 0.999],
    "data.dataset": "squad_es",
    "data.dataset_config": "v1.1.0",
    "data.max_length": 384,
    "data.doc_stride": 128,
    "data.batch_size": 32,
    "data.pad_to_max_length": True,
    "trainer.precision": "16-mixed",
    "trainer.gradient_clip_val": 1.0,
    "trainer.gradient_clip_algorithm": None,
    "trainer.accumulate_grad_batches": 1,
    "stages": ["distillation"],
    "stages.distillation.epochs": 100,
    "stages.distillation.temperature": 1.0,
    "stages.distillation.learning_rate": 3e-5,
    "stages.distillation.warmup": 0.2,
    "stages.distillation.decay": "linear",
    # One of each, and two for the logits: the code adds the divergences of start and end, LogitLoss averages them.
    "stages.distillation.weights": {"attention": 1.0, "hidden": 1.0, "logits": 2.0, "labels": 1.0},
}

#: huawei-noah/Pretrained-Language-Model, TinyBERT: README.md (two commands) and task_distill.py; arXiv 1909.10351,
#: section 4.1, for the student of 6 layers.
TINYBERT = {
    "seed_everything": 42,
    "model.student.num_layers": 6,
    "model.student.hidden_size": 768,
    "model.student.num_heads": 12,
    "model.student.intermediate_size": 3072,
    "model.layer_map": "uniform",
    "model.losses.attention.target": "scores",
    "model.losses.attention.mask_padding": False,
    "model.losses.hidden.projection": "shared",
    "model.losses.hidden.include_embeddings": True,
    "model.losses.hidden.mask_padding": False,
    "model.losses.logits.kind": "soft_cross_entropy",
    "model.losses.logits.mask_padding": False,
    "model.optimizer.class_path": "torch.optim.AdamW",
    "model.optimizer.eps": 1e-6,
    "model.optimizer.weight_decay": 0.01,
    "data.batch_size": 32,
    "trainer.gradient_clip_val": 1.0,
    "stages": ["intermediate", "prediction"],
    "stages.intermediate.epochs": 10,
    "stages.intermediate.weights": {"attention": 1.0, "hidden": 1.0},
    "stages.intermediate.learning_rate": 5e-5,
    "stages.intermediate.decay": "constant",
    "stages.intermediate.warmup": 0.0,
    "stages.prediction.epochs": 3,
    "stages.prediction.weights": {"logits": 1.0},
    "stages.prediction.temperature": 1.0,
    "stages.prediction.learning_rate": 3e-5,
    "stages.prediction.warmup": 0.1,
    "stages.prediction.decay": "linear",
}

#: huggingface/transformers, examples/research_projects/distillation: the defaults of run_squad_w_distillation.py, and
#: the layers of scripts/extract.py.
DISTILBERT_QA = {
    "seed_everything": 42,
    "model.student.num_layers": 6,
    "model.student.hidden_size": 768,
    "model.student.num_heads": 12,
    "model.student.intermediate_size": 3072,
    "model.student.init": "layers",
    "model.layer_map": [0, 2, 4, 7, 9, 11],
    "model.losses.logits.kind": "kl",
    "model.losses.logits.mask_padding": False,
    "model.losses.labels.mask_padding": False,
    "model.optimizer.class_path": "torch.optim.AdamW",
    "model.optimizer.eps": 1e-8,
    "model.optimizer.weight_decay": 0.0,
    "data.max_length": 384,
    "data.doc_stride": 128,
    "data.max_question_length": 64,
    "data.batch_size": 8,
    "trainer.gradient_clip_val": 1.0,
    "stages": ["distillation"],
    "stages.distillation.epochs": 3,
    "stages.distillation.weights": {"logits": 0.5, "labels": 0.5},
    "stages.distillation.temperature": 2.0,
    "stages.distillation.learning_rate": 5e-5,
    "stages.distillation.warmup": 0.0,
    "stages.distillation.decay": "linear",
}

#: arXiv 2012.15828, section 4: relations, relation heads and layer for large teachers; sizes of the L6-H384 student.
MINILM = {
    "model.teacher": "stevemobs/roberta-large-fine-tuned-squad-es",
    "model.student.num_layers": 6,
    "model.student.hidden_size": 384,
    "model.student.num_heads": 12,
    "model.student.intermediate_size": 1536,
    "model.losses.relations.relations": ["query-query", "key-key", "value-value"],
    "model.losses.relations.num_relation_heads": 64,
    "model.losses.relations.student_layer": 5,
    "model.losses.relations.teacher_layer": 18,
    "stages": ["relations", "labels"],
    "stages.relations.weights": {"relations": 1.0},
    "stages.relations.learning_rate": 6e-4,
    "stages.labels.weights": {"labels": 1.0},
}

PUBLISHED = {
    "spanish_tinyroberta": SPANISH_TINYROBERTA,
    "tinybert": TINYBERT,
    "distilbert_qa": DISTILBERT_QA,
    "minilm": MINILM,
}


def parsed(name: str, capsys, monkeypatch) -> dict[str, Any]:
    """Return a recipe as the command line understands it, defaults included; what touches the hub fails."""

    def touched(*_: Any, **__: Any) -> None:
        pytest.fail("the hub was touched")

    for loader in ("AutoConfig", "AutoTokenizer", "AutoModelForQuestionAnswering"):
        monkeypatch.setattr(f"transformers.{loader}.from_pretrained", touched)
    monkeypatch.setattr("socket.socket.connect", touched)
    with pytest.raises(SystemExit) as exit_info:
        main(["fit", f"--config={RECIPES / name}.yaml", "--print_config"])
    assert exit_info.value.code == 0
    return yaml.safe_load(capsys.readouterr().out)


def setting(config: Any, path: str) -> Any:
    """Return a setting by its dotted path; ``init_args`` are passed through, ``stages`` stand at the top."""
    if path == "stages":
        return [name for name, stage in config["schedule"]["stages"].items() if stage is not None]
    if path.startswith("stages."):
        path = f"schedule.{path}"
    for part in path.split("."):
        config = config if part in config else config["init_args"]
        config = config[part]
    return config


def test_every_recipe_is_checked():
    ours = {"best", "multitask_es"}
    assert {path.stem for path in RECIPES.glob("*.yaml")} - ours == set(PUBLISHED)


def test_the_recipe_of_several_tasks_tests_on_parts_that_choose_no_checkpoint():
    config = yaml.safe_load((RECIPES / "multitask_es.yaml").read_text(encoding="utf-8"))
    parts = {name: part["init_args"] for name, part in config["data"]["init_args"]["tasks"].items()}
    # The hub set of questions has no test part, that of inference has one of its own.
    for name in parts.keys() - {"qa", "xnli"}:
        assert parts[name]["test_files"] != parts[name]["validation_files"], name


@pytest.mark.parametrize("name", PUBLISHED)
def test_recipe_is_what_was_published(name, capsys, monkeypatch):
    config = parsed(name, capsys, monkeypatch)
    found = {path: setting(config, path) for path in PUBLISHED[name]}
    assert found == PUBLISHED[name]


@pytest.mark.parametrize("file", sorted(RECIPES.glob("*.yaml")), ids=lambda file: file.stem)
def test_no_answer_is_an_answer_where_the_set_has_impossible_questions_alone(file):
    config = yaml.safe_load(file.read_text(encoding="utf-8"))
    if config["data"]["init_args"].get("dataset_config") != "v1.1.0":
        pytest.skip("not of a set in which every question has an answer")
    assert config["model"]["init_args"]["task"]["init_args"]["null_threshold"] is None


@pytest.mark.parametrize("name", PUBLISHED)
def test_recipe_opens_with_source_and_expected_result(name):
    opening = (RECIPES / f"{name}.yaml").read_text(encoding="utf-8").split("\n\n")[0]
    for word in ("# Purpose: ", "# Command: ", "# Source: ", "# Expected: ", "# Differs: ", "arXiv "):
        assert word in opening
    assert f"--config configs/recipes/{name}.yaml" in opening


def build_empty(config: Any) -> RobertaForQuestionAnswering:
    with torch.device("meta"):
        return QuestionAnswering().build_model(config)


def test_sizes_are_the_published_ones(capsys, monkeypatch):
    """51.21 M and 354.31 M parameters (the published weights' size; counted from the published configurations)."""
    teacher = RobertaConfig(**LARGE)
    settings = parsed("spanish_tinyroberta", capsys, monkeypatch)["model"]["init_args"]["student"]
    student = Student(**settings).config(teacher)
    assert round(num_parameters(build_empty(teacher)) / 1e6, 2) == 354.31
    assert round(num_parameters(build_empty(student)) / 1e6, 2) == 51.21


def test_best_is_half_of_its_teacher_and_ends_on_what_the_cache_holds(capsys, monkeypatch):
    config = parsed("best", capsys, monkeypatch)
    teacher = RobertaConfig(**LARGE)
    student = Student(**setting(config, "model.student")).config(teacher)
    changed = {name for name, value in student.to_dict().items() if value != teacher.to_dict()[name]}
    assert changed - {"architectures"} == {"num_hidden_layers"}
    assert 2 * student.num_hidden_layers == teacher.num_hidden_layers
    assert setting(config, "model.student.init") == "layers"
    assert setting(config, "model.teacher_cache") is not None
    last = list(config["schedule"]["stages"].values())[-1]
    assert set(last["weights"]) == {"logits", "labels"}
    assert setting(config, "model.losses.logits.mask_padding")  # the cache holds real tokens alone
    opening = (RECIPES / "best.yaml").read_text(encoding="utf-8").split("\n\n")[0]
    assert all(word in opening for word in ("# Purpose:  ours", "# Command: ", "# Source: ", "# Expected: "))


_RUN = """
import sys
from distill.cli import main
from tests.benchmarks.peak import peak_memory
main(sys.argv[1:])
print("peak", peak_memory())
"""


@pytest.mark.slow
def test_two_steps_of_the_paper_at_full_size_fit_into_24_gib(tokenizer, tmp_path):
    teacher = tmp_path / "teacher"
    RobertaForQuestionAnswering(RobertaConfig(**LARGE)).save_pretrained(teacher)
    tokenizer.save_pretrained(teacher)
    settings = json.loads((teacher / "tokenizer_config.json").read_text(encoding="utf-8"))
    (teacher / "tokenizer_config.json").write_text(json.dumps({**settings, "model_max_length": 512}), encoding="utf-8")
    questions = tmp_path / "questions.json"
    questions.write_text(json.dumps(squad_document(22)), encoding="utf-8")
    arguments = [
        *("fit", f"--config={RECIPES / 'spanish_tinyroberta.yaml'}", f"--model.teacher={teacher}"),
        *(f"--data.train_files=[{questions}]", f"--data.validation_files=[{questions}]"),
        *(
            "--trainer.max_steps=2",
            "--trainer.limit_val_batches=1",
            "--trainer.accelerator=cpu",
        ),
        # The GPU's half precision would be emulated here; float32 takes more memory, not less.
        "--trainer.precision=32-true",
        *("--benchmark.batch_sizes=[1]", "--benchmark.rounds=1", "--benchmark.warmup=0", "--data.eval_batch_size=4"),
        "--doctor.num_questions=2",
        *(f"--data.cache_dir={tmp_path / 'cache'}", "--trainer.enable_progress_bar=false"),
    ]
    root = Path(__file__).parents[1]
    done = subprocess.run(
        [sys.executable, "-c", _RUN, *arguments],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    peak = int(done.stdout.split("peak ")[-1])
    assert peak < 24 * 2**30
    report = json.loads(next(tmp_path.glob("lightning_logs/*/version_0/report.json")).read_text(encoding="utf-8"))
    assert round(report["teacher"]["num_parameters"] / 1e6, 2) == 354.31
    assert round(report["student"]["num_parameters"] / 1e6, 2) == 51.21
    assert report["environment"]["num_steps"] == 2
