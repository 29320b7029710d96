"""Sums a block at a time against sums at once."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from distill.losses import blocks
from distill.losses.blocks import sum_over_blocks


@pytest.fixture(params=[1, 12, 1000])
def rows(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> list[Tensor]:
    """Seven windows, in blocks of one, of two, or all at once."""
    monkeypatch.setitem(blocks._BLOCK_NUMBERS, "cpu", request.param)
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(7, 2, 3, generator=generator, dtype=torch.float64).requires_grad_() for _ in range(3)]


def product(left: Tensor, right: Tensor, other: Tensor) -> Tensor:
    return (left @ right.mT).exp().mul(other.sum(-1, keepdim=True)).sum()


def test_value_and_gradients_are_those_of_the_whole(rows: list[Tensor]) -> None:
    *trained, other = rows
    total = sum_over_blocks(product, trained, [other], numbers=6)
    got = torch.autograd.grad(3 * total, trained)
    expected = product(*rows)
    torch.testing.assert_close(total, expected)
    for mine, whole in zip(got, torch.autograd.grad(3 * expected, trained), strict=True):
        torch.testing.assert_close(mine, whole)


def test_nothing_is_held_but_gradients(rows: list[Tensor]) -> None:
    *trained, other = rows
    total = sum_over_blocks(product, trained, [other], numbers=6)
    total.backward()
    assert other.grad is None
    with torch.no_grad():
        assert not sum_over_blocks(product, trained, [other], numbers=6).requires_grad


def test_no_windows_sum_to_zero_with_a_gradient_path(rows: list[Tensor]) -> None:
    *trained, other = (tensor[:0] for tensor in rows)
    total = sum_over_blocks(product, trained, [other], numbers=6)
    assert total == 0
    total.backward()
