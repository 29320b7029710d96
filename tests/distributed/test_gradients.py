"""Gradients of several processes averaged, and means over what all of them hold."""

import pytest
import torch
from torch import distributed as dist
from torch import nn

from distill.distributed.gradients import GradientAverage, buckets
from distill.distributed.processes import gather, num_processes, sum_over_processes
from distill.losses.share import share_means
from distill.types import Mean

from .processes import run_processes


def test_buckets_hold_every_parameter_once_in_order_and_one_dtype():
    sizes = [3, 5, 1, 40, 2, 2]
    parameters = [nn.Parameter(torch.zeros(size)) for size in sizes]
    parameters[-1] = nn.Parameter(torch.zeros(2, dtype=torch.float64))
    found = list(buckets(parameters, max_bytes=36))
    assert [[parameter.numel() for parameter in bucket] for bucket in found] == [[3, 5, 1], [40], [2], [2]]
    assert not list(buckets([]))


def test_one_process_hears_itself():
    assert num_processes() == 1
    assert gather("word") == ["word"]
    values = torch.tensor([1.0, 2.0], requires_grad=True)
    assert sum_over_processes(values).tolist() == [1.0, 2.0]
    share = share_means({"logits": Mean(values.sum(), torch.tensor(2))})["logits"]
    assert share.loss.item() == share.value.item() == 1.5
    assert share.loss.requires_grad
    assert not share.value.requires_grad


def average_and_share() -> dict:
    rank = dist.get_rank()
    used, idle, other = (nn.Parameter(torch.full((2,), 7.0)) for _ in range(3))
    average = GradientAverage([used, idle, other])
    used.grad = torch.tensor([1.0, 2.0]) * (rank + 1)
    average()
    first = used.grad.tolist(), idle.grad
    used.grad, idle.grad = None, torch.tensor([rank, 4.0])
    average()
    second = used.grad, idle.grad.tolist()
    # A list that changes on one process alone, then on both and not alike.
    used.grad, idle.grad = None, torch.tensor([2.0, 2.0])
    if rank == 1:
        other.grad = torch.tensor([6.0, 8.0])
    average()
    third = used.grad, idle.grad.tolist(), other.grad.tolist()
    used.grad, idle.grad, other.grad = None, None, None
    (used if rank == 0 else idle).grad = torch.tensor([4.0, 2.0])
    average()
    fourth = used.grad.tolist(), idle.grad.tolist(), other.grad
    # Three tokens here and one there; the mean of the means would be (1 + 8) / 2.
    tokens = torch.full((), 1.0 if rank == 0 else 8.0, requires_grad=True)
    mean = Mean(tokens * (3 if rank == 0 else 1), torch.tensor(3 if rank == 0 else 1))
    empty = Mean(tokens * 0, torch.tensor(0))
    shares = share_means({"hidden": mean, "labels": empty})
    shares["hidden"].loss.backward()
    values = {name: (share.loss.item(), share.value.item()) for name, share in shares.items()}
    steps = {"first": first, "second": second, "third": third, "fourth": fourth}
    return {**steps, "shares": values, "gradient": tokens.grad.item()}


@pytest.mark.slow
def test_two_processes_by_hand(tmp_path):
    results = run_processes(average_and_share, 2, tmp_path)
    for result in results:
        assert result["first"] == ([1.5, 3.0], None)
        assert result["second"] == (None, [0.5, 4.0])
        assert result["third"] == (None, [2.0, 2.0], [3.0, 4.0])
        assert result["fourth"] == ([2.0, 1.0], [2.0, 1.0], None)
        assert result["shares"]["hidden"][1] == pytest.approx(11 / 4)
        assert result["shares"]["labels"] == (0.0, 0.0)
    losses = [result["shares"]["hidden"][0] for result in results]
    assert losses == pytest.approx([2 * 3 / 4, 2 * 8 / 4])
    assert sum(losses) / 2 == pytest.approx(11 / 4)
    # Averaged over processes: the weight of each one's tokens in the mean over all.
    assert [result["gradient"] / 2 for result in results] == pytest.approx([3 / 4, 1 / 4])
