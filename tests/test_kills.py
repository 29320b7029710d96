"""Real fits, killed at random moments and resumed; ``python -m tests.kills --kills 50`` tries more of them."""

import pytest

from tests.kills.trial import Campaign


@pytest.mark.slow
@pytest.mark.kills
@pytest.mark.parametrize(("config", "signal"), [("distill", "KILL"), ("distill", "TERM"), ("pretrain", "KILL")])
def test_killed_runs_end_as_the_uninterrupted_one(tmp_path, config, signal):
    assert Campaign(kills=10, signal=signal, jobs=2, folder=str(tmp_path), config=config).run()


@pytest.mark.slow
@pytest.mark.kills
def test_killed_runs_of_two_processes_end_as_the_uninterrupted_one(tmp_path):
    assert Campaign(kills=4, folder=str(tmp_path), devices=2).run()
