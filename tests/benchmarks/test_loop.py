"""Both loops take turns, and only their own time is theirs; how fast anything was is not asserted."""

from itertools import count

import pytest

from . import loop
from .loop import Finished, Turns


def test_loops_take_turns_and_each_is_charged_its_own_time(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(loop, "_now", lambda: {"processor": now[0], "wall": 2 * now[0]})

    def bare():
        for step in count(1):
            now[0] += 10 * step
            yield

    def fit(turns):
        while True:
            now[0] += 3.0
            turns()

    turns = Turns(bare(), warmup=1, steps=2)
    with pytest.raises(Finished):
        fit(turns)
    # The first step of all is a warm-up too: what came before it is no step.
    assert turns.seconds["processor"] == {"trainer": [3.0, 3.0], "bare": [30.0, 40.0]}
    assert turns.seconds["wall"]["trainer"] == [6.0, 6.0]
