import pytest

from distill.suggestions import did_you_mean, nearest

KNOWN = ["model", "data", "trainer", "trainer.max_epochs", "trainer.max_steps", "schedule.stages", "seed_everything"]
KNOWN += ["max_steps_"]  # alike, at the top


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("modell", ["model"]),
        ("modell.teacher", ["model.teacher"]),  # what a class takes is known to that class alone
        ("trainer.max_epoch", ["trainer.max_epochs"]),
        ("trainr.max_epochs", ["trainer.max_epochs"]),
        ("max_epochs", ["trainer.max_epochs"]),
        ("max_steps", ["trainer.max_steps"]),
        ("schedule.stagse", ["schedule.stages"]),
        ("trainer.colour", []),
        ("colour", []),
        ("", []),
    ],
)
def test_nearest_names(name, meant):
    assert nearest(name, KNOWN)[:1] == meant


def test_at_most_two_are_named():
    assert did_you_mean("max_step", ["max_steps", "max_stop", "max_stem"]).count(" or ") == 1
