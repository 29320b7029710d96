"""The published recipes, number for number, and the size of the models that they name.

The numbers are restated from their sources beside this file; a configuration that drifts from them fails. Nothing is
downloaded: a hub's model stands as the configuration that its author published, or as a folder of random weights.
"""

from __future__ import annotations

import copy
import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from functools import cache, reduce
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
from tests.published_recipes import LARGE, PUBLISHED, RESULTS, is_on
from tests.test_configs import CONFIGS

RECIPES = CONFIGS / "recipes"

#: What the recipes may say to the Trainer, and what is of no consequence to what is trained.
_TRAINER = {"precision", "gradient_clip_val", "gradient_clip_algorithm", "accumulate_grad_batches"}
_PRESENTATION = {"log_every_n_steps", "logger"}


@pytest.fixture(scope="module")
def resolved() -> Callable[[str], dict[str, Any]]:
    """Return recipes as the command line understands them, defaults included; what touches the hub fails."""

    def touched(*_: Any, **__: Any) -> None:
        pytest.fail("the hub was touched")

    @cache
    def resolve(name: str) -> dict[str, Any]:
        printed = io.StringIO()
        with pytest.MonkeyPatch.context() as patch, redirect_stdout(printed):
            for loader in ("AutoConfig", "AutoTokenizer", "AutoModelForQuestionAnswering"):
                patch.setattr(f"transformers.{loader}.from_pretrained", touched)
            patch.setattr("socket.socket.connect", touched)
            with pytest.raises(SystemExit) as exit_info:
                main(["fit", f"--config={RECIPES / name}.yaml", "--print_config"])
        assert exit_info.value.code == 0
        return yaml.safe_load(printed.getvalue())

    return resolve


def source(name: str) -> dict[str, Any]:
    """Return a recipe as its file has it."""
    return yaml.safe_load((RECIPES / f"{name}.yaml").read_text(encoding="utf-8"))


def setting(config: Any, path: str) -> Any:
    """Return a setting by its dotted path; ``init_args`` are passed through."""
    for part in path.split("."):
        config = config if part in config else config["init_args"]
        config = config[part]
    return config


def leaves(config: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield every setting that is no mapping, by its whole path; a list is one."""
    if isinstance(config, dict):
        for key, value in config.items():
            yield from leaves(value, (*path, key))
    else:
        yield path, config


def trained(config: dict[str, Any]) -> dict[str, Any]:
    """Return all that decides what a resolved recipe trains, by dotted paths without ``init_args``.

    Of the Trainer, which has many settings of its own, what recipes may set; of all, what is set and on.
    """
    found = {"stages": [name for name, options in config["schedule"]["stages"].items() if options is not None]}
    for path, value in leaves(
        {key: config[key] for key in ("seed_everything", "model", "data", "schedule", "trainer")}
    ):
        name = ".".join(part for part in path if part != "init_args").removeprefix("schedule.")
        if is_on(value) and (path[0] != "trainer" or path[1] in _TRAINER):
            found[name] = value
    return found


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
def test_recipe_is_what_was_published_and_nothing_else(name, resolved):
    assert trained(resolved(name)) == PUBLISHED[name]
    # Nothing besides: no other section, and of the Trainer nothing that is not compared.
    assert source(name).keys() == {"seed_everything", "model", "data", "trainer", "schedule"}
    assert source(name)["trainer"].keys() <= _TRAINER | _PRESENTATION


@pytest.mark.parametrize("name", PUBLISHED)
def test_no_setting_of_a_recipe_can_be_changed_unnoticed(name, resolved):
    """Every value in the file, each changed alone in the resolved recipe."""
    settings = [path for path, _ in leaves(source(name)) if not _PRESENTATION & set(path)]
    assert len(settings) > 30
    for path in settings:
        config = copy.deepcopy(resolved(name))
        *parents, last = path
        part = reduce(lambda part, key: part[key], parents, config)
        for mutant in mutants(part[last]):
            part[last] = mutant
            assert trained(config) != PUBLISHED[name], (path, mutant)


def mutants(value: Any) -> list[Any]:
    """Return values that a setting might have been changed to."""
    if isinstance(value, list):
        inside = [[*value[:i], mutant, *value[i + 1 :]] for i, item in enumerate(value) for mutant in mutants(item)]
        return [*inside, value[:-1], [*value, value[-1]]]
    if isinstance(value, bool) or value is None:
        return [not value, 1.5]
    if isinstance(value, str):
        return [f"{value}2", None]
    return [value + 1, value * 1.01 + 1e-9, None]


@pytest.mark.parametrize("name", PUBLISHED)
def test_recipe_names_its_paper_and_expects_what_was_published(name):
    opening = (RECIPES / f"{name}.yaml").read_text(encoding="utf-8").split("\n\n")[0].replace("\n# ", "\n ")
    for word in ("# Purpose: ", "Command: ", "Source: ", "Expected: ", "Differs: "):
        assert word in opening
    assert f"--config configs/recipes/{name}.yaml" in opening
    paper, figures = RESULTS[name]
    assert f"arXiv {paper}" in opening
    expected = opening[opening.index("Expected: ") : opening.index("Differs: ")]
    assert re.findall(r"(?<![\w.])\d+(?:\.\d+)?", expected) == figures


@pytest.mark.parametrize("file", sorted(RECIPES.glob("*.yaml")), ids=lambda file: file.stem)
def test_no_answer_is_an_answer_where_the_set_has_impossible_questions_alone(file):
    config = yaml.safe_load(file.read_text(encoding="utf-8"))
    if config["data"]["init_args"].get("dataset_config") != "v1.1.0":
        pytest.skip("not of a set in which every question has an answer")
    assert config["model"]["init_args"]["task"]["init_args"]["null_threshold"] is None


def build_empty(config: Any) -> RobertaForQuestionAnswering:
    with torch.device("meta"):
        return QuestionAnswering().build_model(config)


def test_sizes_are_the_published_ones(resolved):
    """51.21 M and 354.31 M parameters (the published weights' size; counted from the published configurations)."""
    teacher = RobertaConfig(**LARGE)
    settings = resolved("spanish_tinyroberta")["model"]["init_args"]["student"]
    student = Student(**settings).config(teacher)
    assert round(num_parameters(build_empty(teacher)) / 1e6, 2) == 354.31
    assert round(num_parameters(build_empty(student)) / 1e6, 2) == 51.21


def test_best_is_half_of_its_teacher_and_ends_on_what_the_cache_holds(resolved):
    config = resolved("best")
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
