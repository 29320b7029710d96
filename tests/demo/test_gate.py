import threading

import pytest

from distill.demo.gate import Gate
from distill.demo.refusals import Refusal


def test_work_runs_one_at_a_time_in_one_thread():
    gate = Gate()
    running, seen = [], set()

    def work():
        running.append(1)
        assert len(running) == 1
        seen.add(threading.get_ident())
        running.pop()
        return "done"

    results = []
    threads = [threading.Thread(target=lambda: results.append(gate.run(work))) for _ in range(30)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == ["done"] * 30
    assert len(seen) == 1
    gate.close()


def test_who_finds_no_place_is_asked_to_come_back():
    gate, started, end = Gate(max_waiting=1), threading.Event(), threading.Event()

    def long():
        started.set()
        end.wait()

    first = threading.Thread(target=gate.run, args=(long,))
    first.start()
    started.wait()
    with pytest.raises(Refusal, match="Hay demasiadas preguntas a la vez") as reason:
        gate.run(lambda: None)
    assert reason.value.status == 503
    end.set()
    first.join()
    assert gate.run(lambda: 3) == 3
    gate.close()


def test_who_waits_too_long_is_asked_to_come_back():
    gate, end = Gate(patience_s=0.01), threading.Event()
    with pytest.raises(Refusal) as reason:
        gate.run(end.wait)
    assert reason.value.status == 503
    end.set()
    gate.close()


def test_a_closed_gate_lets_nobody_in():
    gate = Gate()
    gate.close()
    with pytest.raises(Refusal) as reason:
        gate.run(lambda: None)
    assert reason.value.status == 503


def test_what_goes_wrong_inside_comes_out():
    gate = Gate()
    with pytest.raises(ZeroDivisionError):
        gate.run(lambda: 1 / 0)
    gate.close()
