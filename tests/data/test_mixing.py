"""Which batch is of which task: by hand, in any order of asking, and again after a resume."""

from __future__ import annotations

import sys
from collections import Counter

import pytest

from distill.data.mixing import MixedSampler, check_sampling, task_order, task_quotas
from distill.stages import Stage, StagePlan
from distill.types import UserError
from tests.data.test_staged import Passes

SIZES = {"many": 7, "few": 2, "one": 1}


def sampler(sampling="proportional") -> MixedSampler:
    return MixedSampler({name: Passes(name, size) for name, size in SIZES.items()}, sampling, seed=3)


def epochs(mixed: MixedSampler, first: int, last: int) -> list:
    items = []
    for epoch in range(first, last):
        mixed.set_epoch(epoch)
        items += list(mixed)
    return items


PLAN = StagePlan(
    {
        "some": Stage({"hidden": 1.0}, steps=4, tasks=["few", "one"]),
        "all": Stage({"hidden": 1.0}, steps=9),
        "many": Stage({"logits": 1.0}, epochs=2, tasks=["many"]),
    },
    steps_per_epoch=10,
    own_epochs={"many": 7},
)


@pytest.mark.parametrize(
    ("sampling", "quotas"),
    [("proportional", [7, 2, 1]), (1.0, [7, 2, 1]), ("uniform", [4, 3, 3]), (1000.0, [4, 3, 3]), (0.1, [8, 1, 1])],
)
def test_quotas_by_hand(sampling, quotas):
    assert task_quotas([7, 2, 1], sampling) == quotas


@pytest.mark.parametrize("temperature", [1e-3, 0.01, sys.float_info.min])  # the command line knows none below
def test_the_lowest_temperatures_leave_one_batch_to_all_but_the_largest(temperature):
    assert task_quotas([5500, 520, 450, 1600, 12000], temperature) == [1, 1, 1, 1, 20066]


def test_order_is_a_function_of_seed_stage_and_round():
    orders = {(seed, stage, number): task_order([9, 9], seed, stage, number).tolist()
              for seed in (0, 1) for stage in (0, 1) for number in (0, 1)}  # fmt: skip
    assert all(Counter(order) == {0: 9, 1: 9} for order in orders.values())
    assert len({tuple(order) for order in orders.values()}) == len(orders)
    assert task_order([9, 9], 1, 0, 1).tolist() == orders[1, 0, 1]


def test_proportional_epochs_are_a_pass_over_every_task():
    for epoch in range(3):
        items = epochs(sampler(), epoch, epoch + 1)
        for name, size in SIZES.items():
            passes = sampler().samplers[name]
            passes.set_epoch(epoch)
            assert [item.item for item in items if item.task == name] == list(passes)[:size]


def test_stages_have_their_tasks_and_each_task_goes_through_its_passes():
    mixed = sampler("uniform")
    mixed.follow(PLAN, 1)
    items = epochs(mixed, 0, 3)
    assert {item.task for item in items[:4]} == {"few", "one"}
    assert {item.task for item in items[4:13]} == set(SIZES)
    assert {item.task for item in items[13:27]} == {"many"}
    for name, size in SIZES.items():
        read = [item.item for item in items if item.task == name]
        assert read == [f"{name} {n // size} {n % size}" for n in range(len(read))]
    counts = Counter(item.task for item in items[4:13])
    assert {name: mixed.num_batches(1, name) for name in SIZES} == counts
    assert mixed.num_batches(0, "many") == 0


@pytest.mark.parametrize("num_done", range(0, 27, 3))
def test_any_place_is_reached_without_what_is_before_it(num_done):
    whole, resumed = sampler(2.0), sampler(2.0)
    whole.follow(PLAN, 1)
    resumed.follow(PLAN, 1)
    expected = epochs(whole, 0, 3)[num_done:]
    resumed.set_epoch(num_done // 10, num_done % 10)
    assert [*resumed, *epochs(resumed, num_done // 10 + 1, 3)] == expected


@pytest.mark.parametrize("sampling", ["often", 0.0, -1.0, float("inf"), float("nan")])
def test_unknown_sampling_is_named(sampling):
    with pytest.raises(UserError, match=r"data\.sampling must be proportional, uniform or a temperature"):
        check_sampling(sampling)
