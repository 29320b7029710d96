"""Terms of very different size are scaled to equal size, as a pure function of what was seen."""

import io
import warnings

import pytest
import torch

from distill.losses.balance import LossBalance
from distill.stages import ActiveStage, Stage
from distill.types import UserError


def at(step: int, name: str = "a", balance: int = 3) -> ActiveStage:
    return ActiveStage(0, name, Stage({"hidden": 1.0, "logits": 1.0}, steps=10, balance=balance), step, 10)


def terms(hidden: float, logits: float) -> dict[str, torch.Tensor]:
    return {"hidden": torch.tensor(hidden, requires_grad=True), "logits": torch.tensor(logits)}


def floats(factors: dict[str, torch.Tensor]) -> dict[str, float]:
    return {name: float(factor) for name, factor in factors.items()}


SEEN = [(10.0, 0.1), (8.0, 0.3), (6.0, 0.2), (1.0, 5.0), (2.0, 7.0)]


def run(balance: LossBalance, first: int = 0) -> list[dict[str, float]]:
    return [floats(balance.factors(at(step), terms(*SEEN[step]))) for step in range(first, len(SEEN))]


def test_factors_are_one_over_the_mean_of_the_first_steps_and_then_stay():
    first, second, third, *later = run(LossBalance())
    assert first == pytest.approx({"hidden": 1 / 10, "logits": 1 / 0.1})
    assert second == pytest.approx({"hidden": 1 / 9, "logits": 1 / 0.2})
    assert third == pytest.approx({"hidden": 1 / 8, "logits": 1 / 0.2})
    assert later == [third, third]


def test_every_term_begins_at_one():
    values = terms(10.0, 0.1)
    factors = LossBalance().factors(at(0), values)
    assert [float(factors[name] * values[name].detach()) for name in values] == pytest.approx([1.0, 1.0])
    assert not any(factor.requires_grad for factor in factors.values())


@pytest.mark.parametrize("interrupted_after", [1, 2, 3, 4])
def test_saved_state_goes_on_exactly(interrupted_after):
    whole = run(LossBalance())
    first = LossBalance()
    for step in range(interrupted_after):
        first.factors(at(step), terms(*SEEN[step]))
    file = io.BytesIO()
    torch.save(first.state_dict(), file)
    file.seek(0)
    second = LossBalance()
    second.load_state_dict(torch.load(file, weights_only=True))
    assert run(second, interrupted_after) == whole[interrupted_after:]


def test_state_of_an_earlier_version_is_refused_with_what_to_do():
    old = {"stage": "a", "names": ["hidden", "logits"], "first_step": 0, "seen": torch.ones(2, 2)}
    with pytest.raises(UserError, match=r"checkpoint of an earlier version, .* stage 'a' .* start from the student/"):
        LossBalance().load_state_dict(old)


def test_state_of_an_earlier_version_that_saw_nothing_is_as_good_as_none():
    balance = LossBalance()
    balance.load_state_dict({"stage": None, "names": [], "first_step": 0, "seen": torch.zeros(2, 0)})
    assert run(balance) == run(LossBalance())


def test_next_stage_begins_anew():
    balance = LossBalance()
    run(balance)
    factors = floats(balance.factors(at(0, "b"), terms(4.0, 2.0)))
    assert factors == pytest.approx({"hidden": 0.25, "logits": 0.5})


def test_stage_first_seen_in_its_middle_counts_the_steps_from_there():
    balance = LossBalance()
    seen = [floats(balance.factors(at(6 + step), terms(*SEEN[step]))) for step in range(len(SEEN))]
    assert seen == run(LossBalance())


@pytest.mark.parametrize("odd", [float("nan"), float("inf")])
def test_value_that_is_not_finite_is_not_counted(odd):
    balance = LossBalance()
    assert floats(balance.factors(at(0), terms(odd, 2.0))) == {"hidden": 1.0, "logits": 0.5}
    assert floats(balance.factors(at(1), terms(4.0, 2.0))) == {"hidden": 0.25, "logits": 0.5}


def test_zero_is_left_as_it_is_and_a_negative_term_keeps_its_sign():
    assert floats(LossBalance().factors(at(0), terms(0.0, -2.0))) == {"hidden": 1.0, "logits": 0.5}


def test_steps_without_a_batch_are_not_counted():
    """In a run of several tasks each sees some of the steps alone."""
    balance = LossBalance()
    steps = [0, 7, 30, 31, 90]
    factors = [floats(balance.factors(at(step), terms(*seen))) for step, seen in zip(steps, SEEN, strict=True)]
    assert factors == run(LossBalance())


def test_batches_of_one_step_count_as_one():
    balance = LossBalance()
    for step, hidden in ((0, 1.0), (0, 3.0), (4, 5.0), (4, 7.0)):
        balance.factors(at(step, balance=2), terms(hidden, 1.0))
    assert floats(balance.factors(at(9, balance=2), terms(100.0, 1.0)))["hidden"] == pytest.approx(1 / 4)


def floats_of_run(sizes: list[tuple[float, float]]) -> list[dict[str, float]]:
    balance = LossBalance()
    return [floats(balance.factors(at(step), terms(*values))) for step, values in enumerate(sizes)]


def test_term_that_is_zero_and_then_tiny_does_not_drown_the_others():
    """As embeddings that a student inherited: equal to the teacher's at first, then off by a rounding error."""
    with pytest.warns(UserWarning, match=r"stage 'a': balance: hidden is on average .* of logits") as caught:
        first, *later = floats_of_run([(0.0, 4.0), (1e-12, 2.0), (2e-12, 3.0), (1e-4, 1.0)])
    assert first == {"hidden": 1.0, "logits": 0.25}
    # Means of the others: 3 over two steps and over three; the factor is 10,000 times theirs and not 1e12.
    assert [factors["hidden"] for factors in later] == pytest.approx([1e4 / 3, 1e4 / 3, 1e4 / 3])
    assert [factors["logits"] for factors in later] == pytest.approx([1 / 3, 1 / 3, 1 / 3])
    assert len(caught) == 1


def test_term_a_few_thousand_times_smaller_is_scaled_to_equal_size_without_a_warning():
    """As attention probabilities of long windows beside hidden states."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        *_, last = floats_of_run([(2e-4, 1.0)] * 4)
    assert last == pytest.approx({"hidden": 5e3, "logits": 1.0})


def test_terms_that_are_all_tiny_are_scaled_to_equal_size():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        *_, last = floats_of_run([(1e-12, 2e-12)] * 4)
    assert last == pytest.approx({"hidden": 1e12, "logits": 5e11})
