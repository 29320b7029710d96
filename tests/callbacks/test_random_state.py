"""The random state in checkpoints."""

from __future__ import annotations

import random

import numpy as np
import torch

from distill.callbacks.random_state import RandomState, get_random_state, set_random_state

from .fakes import FakeModule, tiny_trainer


def draw() -> list[float]:
    return [random.random(), random.gauss(0, 1), float(np.random.normal()), float(torch.randn(()))]  # noqa: NPY002


def test_state_that_was_saved_draws_the_same_again(tmp_path):
    draw()  # leaves half of a pair of normal numbers in the state
    torch.save(get_random_state(), tmp_path / "state.pt")
    first = draw()
    set_random_state(torch.load(tmp_path / "state.pt", weights_only=True))
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
    set_random_state(torch.load(folder / "part.ckpt", weights_only=True)["random_state"][0])
    return draw()


def test_another_number_of_processes_is_said(tmp_path, recwarn):
    trainer = tiny_trainer(tmp_path, [RandomState()])
    RandomState().on_load_checkpoint(trainer, None, {"random_state": [{}, {}]})
    assert any("the checkpoint is of 2 processes and this run has 1" in str(w.message) for w in recwarn)
