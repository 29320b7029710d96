import numpy as np
import torch

from distill.data.sample import ExampleSample, sample_loader


class Windows:
    """Seven examples of one to three windows; a batch is the list of its window ids."""

    examples = tuple("abcdefg")
    example_indices = np.array([0, 1, 1, 2, 3, 3, 3, 4, 5, 6])
    lengths = np.array([5, 9, 2, 7, 1, 8, 4, 6, 3, 10])

    def __len__(self) -> int:
        return 10

    def __getitem__(self, window_ids: list[int]) -> list[int]:
        return window_ids


class Blocks:
    def __len__(self) -> int:
        return 6

    def __getitem__(self, block_ids: list[int]) -> list[int]:
        return block_ids


def test_sample_holds_all_windows_of_its_examples():
    sample = ExampleSample(Windows(), 3)
    chosen = [Windows.examples.index(example) for example in sample.examples]
    assert len(chosen) == len(set(chosen)) == 3
    windows = [window for window, owner in enumerate(Windows.example_indices) if owner in chosen]
    assert sorted(window for batch in sample_loader(Windows(), 3, 2) for window in batch) == windows
    assert len(sample) == len(windows)


def test_sample_is_the_same_every_time_and_not_the_beginning():
    assert ExampleSample(Windows(), 4).examples == ExampleSample(Windows(), 4).examples
    assert {tuple(ExampleSample(Windows(), 3, seed).examples) for seed in range(5)} != {("a", "b", "c")}


def test_more_than_there_is_gives_everything():
    assert ExampleSample(Windows(), 99).examples == list(Windows.examples)
    assert sorted(window for batch in sample_loader(Windows(), 99, 4) for window in batch) == list(range(10))


def test_sets_without_examples_are_drawn_item_by_item():
    sample = ExampleSample(Blocks(), 4)
    assert len(sample) == len(sample.examples) == 4
    assert sorted(block for batch in sample_loader(Blocks(), 99, 4) for block in batch) == list(range(6))


def test_processes_share_a_sample_without_overlap():
    shares = [[window for batch in sample_loader(Windows(), 5, 2, rank, 2) for window in batch] for rank in range(2)]
    whole = sorted(window for batch in sample_loader(Windows(), 5, 2) for window in batch)
    assert sorted(shares[0] + shares[1]) == whole


def test_random_state_is_left_alone():
    state = torch.get_rng_state()
    list(sample_loader(Windows(), 3, 2))
    assert torch.equal(state, torch.get_rng_state())
