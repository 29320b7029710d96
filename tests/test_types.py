"""How a batch reaches its device."""

from __future__ import annotations

import pytest
import torch
from torch.utils.data._utils.pin_memory import pin_memory

from distill.types import Batch


class Moved:
    """Stands for a tensor on a machine with a GPU: tells what was asked of it."""

    def __init__(self, *done: object) -> None:
        self.done = done

    def to(self, device: torch.device, non_blocking: bool = False) -> Moved:
        return Moved(*self.done, device.type, non_blocking)

    def pin_memory(self) -> Moved:
        return Moved(*self.done, "pinned")


@pytest.fixture
def batch() -> Batch:
    window_ids = torch.tensor([3, 4])
    return Batch({"input_ids": Moved()}, {"class_ids": Moved()}, window_ids, task="ner", weight=0.5)  # type: ignore[dict-item]


def done(batch: Batch) -> list[tuple[object, ...]]:
    return [tensor.done for tensor in (batch.inputs["input_ids"], batch.labels["class_ids"])]  # type: ignore[attr-defined]


@pytest.mark.parametrize(("device", "waits"), [("cuda", False), ("cuda:0", False), ("cpu", True), ("mps", True)])
def test_only_copies_to_a_gpu_are_not_waited_for(batch: Batch, device: str, waits: bool) -> None:
    assert done(batch.to(device)) == [(device.split(":")[0], not waits)] * 2
    assert done(batch.to(torch.device(device))) == [(device.split(":")[0], not waits)] * 2


def test_loaders_pin_what_goes_to_the_device_and_keep_the_rest(batch: Batch) -> None:
    pinned = pin_memory(batch)
    assert done(pinned) == [("pinned",)] * 2
    assert pinned.window_ids is batch.window_ids
    assert (pinned.task, pinned.weight) == ("ner", 0.5)


@pytest.mark.parametrize("real", [[[1, 1, 1]], [[1, 1, 0]]])
def test_a_batch_that_leaves_the_cpu_knows_whether_it_is_padded(real: list[list[int]]) -> None:
    batch = Batch({"attention_mask": torch.tensor(real)}, {}, torch.tensor([0]))
    assert batch.to("cpu").is_padded is None
    there = batch.to("meta")
    assert there.is_padded is (0 in real[0])
    assert there.to("meta").is_padded is there.is_padded
