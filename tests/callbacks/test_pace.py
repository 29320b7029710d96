import pytest

from distill.callbacks.pace import StagePace
from distill.stages import Stage, StagePlan


def told(lengths: list[int], seconds: list[float], first: int = 0, batches: int = 1) -> dict[int, float]:
    """Return after which step the pace was told, and which, of stages whose steps take so long."""
    names = [f"stage {index}" for index in range(len(lengths))]
    plan = StagePlan({name: Stage({"a": 1.0}, steps=steps) for name, steps in zip(names, lengths, strict=True)}, 1)
    pace, now, found = StagePace(), 0.0, {}
    for step in range(first, sum(lengths)):
        now += seconds[plan.stage_at(step).index]
        for _ in range(batches):
            if (value := pace.after(plan.stage_at(step + 1), now)) is not None:
                found[step + 1] = value
    return found


@pytest.mark.parametrize(
    ("length", "step"),
    # The first step that is seen begins the count; a tenth of what is left is at least 3 and at most 25.
    [(1000, 26), (101, 11), (61, 7), (5, 4)],
)
def test_pace_is_told_once_after_a_tenth(length, step):
    assert told([length], [2.0]) == {step: pytest.approx(2.0)}


@pytest.mark.parametrize("length", [1, 2, 3, 4])
def test_stage_of_a_few_steps_has_none(length):
    assert told([length], [2.0]) == {}


def test_each_stage_has_its_own():
    assert told([40, 100, 2, 50], [2.0, 3.0, 1.0, 0.5]) == pytest.approx({4: 2.0, 50: 3.0, 147: 0.5})


def test_batches_of_one_step_count_as_one():
    assert told([100], [2.0], batches=4) == told([100], [2.0])


def test_resumed_stage_begins_anew():
    assert told([1000], [2.0], first=500) == {526: pytest.approx(2.0)}
