import numpy as np
import pytest

from distill.data.sampling import (
    EvaluationSampler,
    TokenBudgetSampler,
    TrainingSampler,
    budget_batches,
    evaluation_batches,
    training_batches,
)
from distill.types import UserError

LENGTHS = np.random.default_rng(0).integers(10, 300, size=1003)


def test_training_batches_hold_every_window_once():
    batches = training_batches(LENGTHS, batch_size=16, seed=1, epoch=0)
    assert sorted(np.concatenate(batches)) == list(range(1003))
    assert len(batches) == 63


def test_training_batches_are_reproducible_and_differ_between_epochs_and_seeds():
    def order(seed, epoch):
        return np.concatenate(training_batches(LENGTHS, 16, seed, epoch)).tolist()

    assert order(1, 0) == order(1, 0)
    assert order(1, 0) != order(1, 1)
    assert order(1, 0) != order(2, 0)


def test_training_batches_pad_far_less_than_random_ones():
    def padding(batches):
        return sum(len(batch) * LENGTHS[batch].max() for batch in batches) / LENGTHS.sum() - 1

    shuffled = np.random.default_rng(0).permutation(1003)
    random = [shuffled[i : i + 16] for i in range(0, 1003, 16)]
    assert padding(training_batches(LENGTHS, 16, 1, 0)) < padding(random) / 5


@pytest.mark.parametrize(("num_windows", "num_ranks"), [(1003, 3), (64, 2), (65, 2), (5, 2), (26, 3), (1, 2)])
def test_training_sampler_gives_ranks_equally_many_disjoint_batches(num_windows, num_ranks):
    samplers = [TrainingSampler(LENGTHS[:num_windows], 4, 0, rank, num_ranks) for rank in range(num_ranks)]
    parts = [list(sampler) for sampler in samplers]
    assert {len(part) for part in parts} == {len(samplers[0])}
    seen = [window for part in parts for batch in part for window in batch]
    assert len(seen) == len(set(seen))
    assert len(seen) >= num_windows - (num_ranks - 1)
    assert {sampler.num_left_out for sampler in samplers} == {num_windows - len(seen)}


def test_one_rank_of_a_large_batch_equals_two_of_half_of_it():
    whole = list(TrainingSampler(LENGTHS, 8, 0))
    halves = zip(*(TrainingSampler(LENGTHS, 4, 0, rank, 2) for rank in range(2)), strict=True)
    # The last, smaller batch of the one may be shared out unevenly; it is the same windows.
    assert [sorted(batch) for batch in whole] == [sorted(a + b) for a, b in halves]


def test_set_epoch_changes_the_order():
    sampler = TrainingSampler(LENGTHS, 8, 0)
    first = list(sampler)
    sampler.set_epoch(1)
    assert list(sampler) != first


@pytest.mark.parametrize("num_ranks", [2, 3, 7])
def test_processes_share_out_the_very_batches_of_one(num_ranks):
    whole = [tuple(batch) for batch in evaluation_batches(LENGTHS, 32)]
    parts = [evaluation_batches(LENGTHS, 32, rank, num_ranks) for rank in range(num_ranks)]
    shared = [tuple(batch) for part in parts for batch in part]
    assert len(shared) == len(whole)
    assert set(shared) == set(whole)
    assert sorted(np.concatenate(shared)) == list(range(1003))


@pytest.mark.parametrize(("num_windows", "num_ranks"), [(3, 3), (10, 4), (64, 3)])
def test_every_process_has_some_of_a_small_set(num_windows, num_ranks):
    parts = [evaluation_batches(LENGTHS[:num_windows], 32, rank, num_ranks) for rank in range(num_ranks)]
    assert all(parts)
    assert sorted(np.concatenate([batch for part in parts for batch in part])) == list(range(num_windows))


def test_more_processes_than_windows_are_refused():
    with pytest.raises(UserError, match="2 windows cannot be shared out to 3 processes"):
        evaluation_batches(LENGTHS[:2], 32, 0, 3)


def test_evaluation_starts_with_the_longest_window():
    sampler = EvaluationSampler(evaluation_batches(LENGTHS, 32))
    assert LENGTHS[next(iter(sampler))[0]] == LENGTHS.max()
    assert len(sampler) == 32


def test_a_pool_of_one_batch_draws_windows_regardless_of_length():
    lengths = np.arange(1, 401)
    batches = training_batches(lengths, 8, seed=0, epoch=0, pool_batches=1)
    assert sorted(np.concatenate(batches)) == list(range(400))
    spread = np.mean([lengths[batch].max() - lengths[batch].min() for batch in batches])
    assert spread > 200
    sampler = TrainingSampler(lengths, 8, seed=0, pool_batches=1)
    assert [batch.tolist() for batch in batches] == list(sampler)


WIDTHS = -(-LENGTHS // 32) * 32


@pytest.mark.parametrize("num_ranks", [1, 2, 3])
def test_batches_by_tokens_keep_to_the_budget_and_hold_every_window_once(num_ranks):
    batches = budget_batches(WIDTHS, 1024, seed=1, epoch=0, num_ranks=num_ranks)
    assert sorted(np.concatenate(batches)) == list(range(1003))
    for batch in batches:
        assert all(len(batch[rank::num_ranks]) * WIDTHS[batch].max() <= 1024 for rank in range(num_ranks))
    # Only one batch for each change of width is not full.
    loose = [batch for batch in batches if (len(batch) // num_ranks + 1) * WIDTHS[batch].max() <= 1024]
    assert len(loose) <= len(set(WIDTHS))


def test_batches_by_tokens_are_as_many_and_as_large_every_epoch_but_others():
    epochs = [budget_batches(WIDTHS, 1024, seed=1, epoch=epoch) for epoch in range(4)]
    sizes = [sorted(map(len, epoch)) for epoch in epochs]
    assert all(size == sizes[0] for size in sizes)
    assert len({tuple(np.concatenate(epoch)) for epoch in epochs}) == 4
    members = [{frozenset(batch.tolist()) for batch in epoch} for epoch in epochs]
    assert len(members[0] & members[1]) < 5


@pytest.mark.parametrize("num_ranks", [1, 2, 3])
def test_token_budget_sampler_gives_ranks_equally_many_disjoint_batches_of_its_mean_size(num_ranks):
    samplers = [TokenBudgetSampler(WIDTHS, 1024, 0, rank, num_ranks) for rank in range(num_ranks)]
    parts = [list(sampler) for sampler in samplers]
    assert {len(part) for part in parts} == {len(samplers[0])}
    seen = [window for part in parts for batch in part for window in batch]
    assert len(seen) == len(set(seen)) >= 1003 - (num_ranks - 1)
    assert samplers[0].mean_windows == pytest.approx(len(seen) / len(samplers[0]) / num_ranks)
    assert {sampler.num_left_out for sampler in samplers} == {1003 - len(seen)}
    samplers[0].set_epoch(0, start=5)
    assert list(samplers[0]) == parts[0][5:]
