"""What a batch holds of a mean: of its step's, or of a pass over batches that are unlike each other."""

import pytest
import torch

from distill.losses.hidden import HiddenStateLoss
from distill.losses.objective import Objective
from distill.losses.share import AverageCounts, StepCounts, share_means
from distill.types import AverageBatch, Batch, Mean


def batch(*lengths: int) -> Batch:
    mask = (torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]).long()
    return Batch({"attention_mask": mask}, {}, torch.arange(len(lengths)))


# Four windows of 64 tokens in one batch, one of 256 in the other: the average batch holds 2.5 windows, 256 tokens and
# (4 * 64^2 + 256^2) / 2 = 40960 pairs.
@pytest.mark.parametrize(
    ("short", "long", "average", "shares"),
    [(4, 1, 2.5, (0.8, 0.2)), (256, 256, 256.0, (0.5, 0.5)), (4 * 64**2, 256**2, 40960.0, (0.2, 0.8))],
    ids=["windows", "tokens", "pairs"],
)
def test_batches_of_a_pass_share_in_its_mean_by_what_they_hold(short, long, average, shares):
    losses = []
    for count in (short, long):
        mean = Mean(torch.tensor(3.0 * count), torch.tensor(count))  # each item is worth 3
        share = share_means({"term": mean}, averages={"term": average})["term"]
        assert share.value.item() == 3.0
        losses.append(share.loss.item() / 2)  # two steps
    assert losses == pytest.approx([3.0 * part for part in shares])


def test_term_that_the_sample_does_not_hold_is_the_batchs_own_mean():
    share = share_means({"term": Mean(torch.tensor(6.0), torch.tensor(2))}, averages={"term": 0.0})["term"]
    assert share.loss.item() == 3.0


def test_average_batch_is_counted_once_for_a_stage():
    reads = []

    def sample():
        reads.append(1)
        return [batch(64, 64, 64, 64), batch(256)]

    objective = Objective({"hidden": HiddenStateLoss(), "unused": HiddenStateLoss()})
    counts, average = AverageCounts(), AverageBatch(sample, 0.5)
    for _ in range(3):
        assert counts(average, {"hidden": 1.0}, objective) == {"hidden": 256.0}
    assert len(reads) == 1
    assert counts(average, {"hidden": 1.0, "unused": 1.0}, objective) == {"hidden": 256.0, "unused": 256.0}
    assert counts(None, {"hidden": 1.0}, objective) == {}
    assert len(reads) == 2


def test_batches_of_a_step_are_counted_once_each_and_anew_for_other_terms(monkeypatch):
    objective = Objective({"hidden": HiddenStateLoss(), "unused": HiddenStateLoss()})
    counted = []
    count = objective.counts
    monkeypatch.setattr(objective, "counts", lambda one, weights: counted.append(one) or count(one, weights))
    counts, batches = StepCounts(), [batch(length) for length in range(1, 9)]
    for index in range(len(batches)):
        others = batches[:index] + batches[index + 1 :]
        found = counts(others, {"hidden": 1.0}, objective)
        assert [one["hidden"].item() for one in found] == [other.inputs["attention_mask"].numel() for other in others]
    assert len(counted) < 2 * len(batches)  # 56 if each batch counted all of its others
    assert set(counts(batches[:1], {"unused": 1.0}, objective)[0]) == {"unused"}
    assert counts([], {"unused": 1.0}, objective) == []
