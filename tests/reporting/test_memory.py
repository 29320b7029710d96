"""Peak memory against a network whose live tensors can be counted by hand."""

from __future__ import annotations

import torch
from torch import nn

from distill.reporting.memory import peak_memory

CPU = torch.device("cpu")


class Wide(nn.Module):
    """Doubles 8 numbers a row to 1,000 and sums them up again: input, then two wide tensors at once, then one."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(8, 1000, bias=False)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        wide = self.layer(rows)
        return wide.relu().sum(-1)


def test_counts_live_tensors_and_no_weights():
    with torch.inference_mode():
        peak = peak_memory(Wide(), {"rows": torch.zeros(4, 8)}, CPU)
    two_wide_and_one_sum = (2 * 4 * 1000 + 4) * 4
    assert two_wide_and_one_sum <= peak <= two_wide_and_one_sum + 4 * 8 * 4


def test_grows_with_the_batch_alone():
    model = Wide()
    with torch.inference_mode():
        small, large = (peak_memory(model, {"rows": torch.zeros(size, 8)}, CPU) for size in (4, 8))
    assert large == 2 * small


def test_leaves_no_gradient_and_no_hook():
    model = Wide()
    with torch.inference_mode():
        peak_memory(model, {"rows": torch.zeros(4, 8)}, CPU)
    assert model.layer.weight.grad is None
    assert not model._forward_hooks
    assert not model._forward_pre_hooks


def test_unknown_device_has_no_figure():
    assert peak_memory(Wide(), {"rows": torch.zeros(4, 8)}, torch.device("meta")) is None
