"""Real fits, killed at random moments and resumed; ``python -m tests.kills --kills 50`` tries more of them."""

import os
import signal
import time

import pytest

from tests.kills.trial import Campaign, ending, logged_step, status


@pytest.mark.slow
@pytest.mark.kills
@pytest.mark.parametrize(("config", "signal"), [("distill", "KILL"), ("distill", "TERM"), ("pretrain", "KILL")])
def test_killed_runs_end_as_the_uninterrupted_one(tmp_path, config, signal):
    assert Campaign(kills=10, signal=signal, jobs=2, folder=str(tmp_path), config=config).run()


@pytest.mark.slow
@pytest.mark.kills
def test_killed_runs_of_two_processes_end_as_the_uninterrupted_one(tmp_path):
    assert Campaign(kills=4, folder=str(tmp_path), devices=2).run()


@pytest.mark.slow
@pytest.mark.kills
def test_signals_to_a_run_and_its_workers_stop_it_in_order(tmp_path):
    campaign = Campaign(kills=2, folder=str(tmp_path), workers=2)
    stopped, whole = tmp_path / "stopped", tmp_path / "whole"
    for number, step in ((signal.SIGINT, 2), (signal.SIGTERM, 8)):
        process, log = campaign.start(stopped)
        while process.poll() is None and logged_step(stopped) < step:
            time.sleep(0.02)
        os.killpg(process.pid, number)
        assert process.wait() == 128 + number, log.read_text(encoding="utf-8")
        assert status(stopped)["state"] == "stopped"
        assert "Traceback" not in log.read_text(encoding="utf-8")
    for folder in (stopped, whole):
        process, log = campaign.start(folder)
        assert process.wait() == 0, log.read_text(encoding="utf-8")
    assert len(status(stopped)["resumed_at"]) == 2
    assert ending(stopped) == ending(whole)


@pytest.mark.slow
@pytest.mark.kills
def test_first_of_two_processes_closes_its_logs_before_a_stopped_run_ends(tmp_path):
    campaign = Campaign(kills=1, folder=str(tmp_path), devices=2)
    folder = tmp_path / "stopped"
    process, log = campaign.start(folder, "--trainer.logger+=tests.kills.slow_log.SlowLog")
    while process.poll() is None and logged_step(folder) < 2:
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGTERM)
    assert process.wait() == 128 + signal.SIGTERM, log.read_text(encoding="utf-8")
    assert (folder / "closed.txt").read_text(encoding="utf-8") == "failed"
    assert status(folder)["state"] == "stopped"
