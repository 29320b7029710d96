"""Every arm is its recipe but for what must be equal for all and fit the models."""

from __future__ import annotations

from dataclasses import replace

import pytest
import yaml

from distill.cli import main
from distill.types import ModelShape, UserError
from tests.benchmarks.recipes.arms import ARMS, CONFIGS, Models, Sizes, command_line

MODELS = Models(ModelShape(2, 16, 2), ModelShape(4, 16, 2), Sizes(2, 16, 2, 32), "layers")

#: What an arm may set, besides the lengths and rates of stages and the student.
FITTED = {"model.layer_map", "model.losses.relations.init_args.num_relation_heads"}
FITTED |= {f"model.losses.relations.init_args.{role}_layer" for role in ("student", "teacher")}


def parsed(arm: str, teacher_folder, capsys) -> dict:
    settings = {"model.teacher": str(teacher_folder), **ARMS[arm].overrides(MODELS, 13, 1e-3)}
    with pytest.raises(SystemExit) as stopped:
        main(["fit", f"--config={CONFIGS / ARMS[arm].recipe}.yaml", *command_line(settings), "--print_config"])
    assert stopped.value.code == 0
    return yaml.safe_load(capsys.readouterr().out)


@pytest.mark.parametrize("arm", ARMS)
def test_arm_parses_and_differs_from_its_recipe_where_it_must_alone(arm, teacher_folder, capsys):
    config = parsed(arm, teacher_folder, capsys)
    stages = {name: stage for name, stage in config["schedule"]["stages"].items() if stage is not None}
    assert sum(stage["steps"] for stage in stages.values()) == 13
    assert {stage["learning_rate"] for stage in stages.values()} == {1e-3}
    recipe = yaml.safe_load((CONFIGS / f"{ARMS[arm].recipe}.yaml").read_text(encoding="utf-8"))
    for name, loss in recipe["model"]["init_args"]["losses"].items():
        found = config["model"]["init_args"]["losses"][name]
        fitted = {setting.split(".")[-1] for setting in FITTED}
        for option, value in loss.get("init_args", {}).items():
            assert option in fitted or found["init_args"][option] == value
    if arm not in ("labels", "logits"):
        original = recipe["schedule"]["stages"]
        assert {name: stage["weights"] for name, stage in stages.items()} == {
            name: stage["weights"] for name, stage in original.items()
        }
    changed = set(ARMS[arm].overrides(MODELS, 13, 1e-3))
    assert not {name for name in changed - FITTED if not name.startswith(("schedule.stages.", "model.student."))}


def test_arms_are_the_seven_that_were_asked_for(teacher_folder, capsys):
    configs = {arm: parsed(arm, teacher_folder, capsys) for arm in ARMS}
    inits = {arm: config["model"]["init_args"]["student"]["init"] for arm, config in configs.items()}
    assert {arm for arm, init in inits.items() if init == "layers"} == {"paper_start", "best"}
    weights = {
        arm: [stage["weights"] for stage in config["schedule"]["stages"].values() if stage is not None]
        for arm, config in configs.items()
    }
    assert weights["labels"] == [{"labels": 1.0}]
    assert weights["logits"] == [{"logits": 1.0}]
    assert configs["logits"]["schedule"]["stages"]["logits"]["temperature"] == 1.0
    paper, start = (configs[arm]["model"]["init_args"] for arm in ("paper", "paper_start"))
    assert paper["layer_map"] == {"attention": [1, 3], "hidden": [0, 2, 4]}
    assert {name for name in paper if paper[name] != start[name]} == {"student"}
    assert len(ARMS) == 7


def test_steps_are_shared_as_the_recipes_epochs_are():
    assert ARMS["tinybert"].stage_lengths(130) == {"intermediate": 100, "prediction": 30}
    assert ARMS["paper"].stage_lengths(7) == {"distillation": 7}
    with pytest.raises(UserError, match="1 steps are too few for the 2 stages of tinybert"):
        ARMS["tinybert"].stage_lengths(1)


def test_layer_map_of_another_ratio_than_the_papers():
    assert ARMS["paper"].fit(replace(MODELS, teacher=ModelShape(6, 16, 2)))["model.layer_map"] == {
        "attention": [2, 5],
        "hidden": [0, 3, 6],
    }
    with pytest.raises(UserError, match="a multiple of 2 layers, but the teacher has 5"):
        ARMS["paper"].fit(replace(MODELS, teacher=ModelShape(5, 16, 2)))


@pytest.mark.parametrize(
    ("sizes", "num_layers", "start"),
    [(Sizes(), 2, "layers"), (Sizes(3), 3, "layers"), (Sizes(hidden_size=8, intermediate_size=16), 2, "inherited")],
)
def test_student_is_half_the_teacher_and_starts_from_it_as_its_widths_allow(sizes, num_layers, start, teacher_config):
    models = Models.of(sizes, teacher_config)
    assert (models.student.num_layers, models.own_start) == (num_layers, start)
    assert None not in vars(models.sizes).values()
