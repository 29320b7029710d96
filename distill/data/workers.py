"""Processes that prepare batches, and what a signal means to them."""

from __future__ import annotations

import os
import signal
import threading


def leave_signals_to_the_run(worker: int) -> None:
    """Have a worker end with its run and not before; the ``worker_init_fn`` of every loader.

    Ctrl-C reaches every process of a terminal, and schedulers tell every process of a job: a worker that then ended
    would fail a run that is about to save. So it heeds one alone, SIGTERM of the process that started it, which is how
    torch ends a worker that lingers. If that process is killed, torch's own watch ends the worker.

    Args:
        worker: Which one of its loader's; not needed.
    """
    for number in (signal.SIGINT, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)
    if hasattr(signal, "sigwaitinfo"):  # macOS tells nobody who has sent a signal
        # Blocked here, for threads that start later too: the one that waits takes it from all of them.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        threading.Thread(target=_end_when_the_parent_says, args=(os.getppid(),), daemon=True).start()


def _end_when_the_parent_says(parent: int) -> None:
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != parent:
        pass
    os._exit(0)
