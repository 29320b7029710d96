"""The random state in checkpoints."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch

from distill.callbacks.random_state import RandomState, get_random_state, set_random_state

from .fakes import FakeModule, tiny_trainer

CPU = torch.device("cpu")


def draw() -> list[float]:
    return [random.random(), random.gauss(0, 1), float(np.random.normal()), float(torch.randn(()))]  # noqa: NPY002


def test_state_that_was_saved_draws_the_same_again(tmp_path):
    draw()  # leaves half of a pair of normal numbers in the state
    torch.save(get_random_state(CPU), tmp_path / "state.pt")
    first = draw()
    set_random_state(torch.load(tmp_path / "state.pt", weights_only=True), CPU)
    assert draw() == first


class Drawing(FakeModule):
    def __init__(self) -> None:
        super().__init__(with_teacher=False)
        self.drawn: list[list[float]] = []

    def training_step(self, batch, batch_idx):
        self.drawn.append(draw())
        return super().training_step(batch, batch_idx)


def test_resumed_run_draws_what_the_other_would_have(tmp_path):
    whole, resumed = Drawing(), Drawing()
    tiny_trainer(tmp_path, [RandomState()], max_epochs=2).fit(whole)
    trainer = tiny_trainer(tmp_path, [RandomState()], max_epochs=1)
    trainer.fit(part := Drawing())
    trainer.save_checkpoint(tmp_path / "part.ckpt")
    draw()
    tiny_trainer(tmp_path, [RandomState()], max_epochs=2).fit(resumed, ckpt_path=tmp_path / "part.ckpt")
    assert resumed.drawn[0] == draw_after(trainer, tmp_path)
    assert len(whole.drawn) == 4
    assert len(part.drawn) == len(resumed.drawn) == 2


def draw_after(trainer, folder) -> list[float]:
    """Return what is drawn first from the state in the checkpoint."""
    set_random_state(torch.load(folder / "part.ckpt", weights_only=True)["random_state"][0], CPU)
    return draw()


def test_another_number_of_processes_is_said(tmp_path, recwarn):
    trainer = tiny_trainer(tmp_path, [RandomState()])
    RandomState().on_load_checkpoint(trainer, None, {"random_state": [{}, {}]})
    assert any("the checkpoint is of 2 processes and this run has 1" in str(w.message) for w in recwarn)


def test_of_several_gpus_that_in_use_alone_is_asked(monkeypatch):
    states = {torch.device("cuda", index): torch.full((16,), index, dtype=torch.uint8) for index in range(8)}
    asked = []

    def get(device):
        asked.append(device)
        return states[device]

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 8)
    monkeypatch.setattr(torch.cuda, "get_rng_state", get)
    monkeypatch.setattr(torch.cuda, "set_rng_state", lambda state, device: states.update({device: state + 10}))
    third = torch.device("cuda", 3)
    state = get_random_state(third)
    assert asked == [third]
    set_random_state(state, CPU)
    assert states[third].tolist() == [3] * 16
    set_random_state(state, third)
    assert [int(values[0]) for values in states.values()] == [0, 1, 2, 13, 4, 5, 6, 7]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_gpu_draws_the_same_again():
    device = torch.device("cuda", 0)
    state = get_random_state(device)
    first = torch.rand(5, device=device)
    set_random_state(state, device)
    assert torch.equal(torch.rand(5, device=device), first)
