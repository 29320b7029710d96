import pytest

from distill.stages import Stage, StagePlan
from distill.types import UserError


def make_stage(**settings) -> Stage:
    return Stage(**{"weights": {"logits": 1.0}, "steps": 10, **settings})


def test_stage_at_every_step_is_a_function_of_the_step_alone():
    plan = StagePlan({"a": make_stage(steps=3), "b": make_stage(steps=None, epochs=2)}, steps_per_epoch=4)
    assert plan.total_steps == 11
    assert [line["start_step"] for line in plan.describe()] == [0, 3]
    assert [plan.stage_at(step).name for step in range(11)] == ["a"] * 3 + ["b"] * 8
    assert [plan.stage_at(step).step for step in range(11)] == [0, 1, 2, 0, 1, 2, 3, 4, 5, 6, 7]


def test_stage_at_past_the_end_is_the_end_of_the_last_stage():
    active = StagePlan({"logits": make_stage()}, steps_per_epoch=1).stage_at(25)
    assert (active.index, active.step, active.learning_rate) == (0, 10, 0.0)


def test_learning_rate_rises_linearly_then_falls_to_zero():
    plan = StagePlan({"logits": make_stage(learning_rate=1.0, warmup=0.2)}, steps_per_epoch=1)
    rates = [plan.stage_at(step).learning_rate for step in range(11)]
    assert rates == pytest.approx([0.5, 1.0, 1.0, 0.875, 0.75, 0.625, 0.5, 0.375, 0.25, 0.125, 0.0])


def test_learning_rate_follows_the_named_decay():
    def halfway(decay):
        stage = make_stage(decay=decay, learning_rate=2.0, warmup=0.0)
        return StagePlan({"logits": stage}, steps_per_epoch=1).stage_at(5).learning_rate

    assert halfway("constant") == 2.0
    assert halfway("linear") == pytest.approx(1.0)
    assert halfway("cosine") == pytest.approx(1.0)


def test_fraction_of_an_epoch_is_at_least_one_step():
    assert make_stage(steps=None, epochs=0.01).num_steps(steps_per_epoch=10) == 1


def test_describe_is_plain_data():
    (line,) = StagePlan({"logits": make_stage()}, steps_per_epoch=1).describe()
    assert (line["name"], line["start_step"], line["num_steps"], line["weights"]) == ("logits", 0, 10, {"logits": 1.0})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"steps": None}, "either as epochs or as steps"),
        ({"epochs": 1}, "either as epochs or as steps"),
        ({"steps": 0}, "length must be more than 0"),
        ({"steps": None, "epochs": float("nan")}, "length must be more than 0"),
        ({"temperature": 0.0}, "temperature"),
        ({"temperature": float("inf")}, "temperature"),
        ({"learning_rate": -1.0}, "learning_rate"),
        ({"learning_rate": float("inf")}, "learning_rate"),
        ({"warmup": 1.0}, "warmup"),
        ({"balance": 0}, "balance is a number of steps from 1"),
    ],
)
def test_stage_refuses_values_out_of_range(settings, message):
    with pytest.raises(UserError, match=rf"stage 'logits'.*{message}"):
        make_stage(**settings).validate("logits")
