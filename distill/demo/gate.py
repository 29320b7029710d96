"""One question at a time, a few waiting, the rest asked to come back."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from threading import BoundedSemaphore
from typing import TypeVar

from distill.demo.refusals import refusal

T = TypeVar("T")


class Gate:
    """Runs work in one thread of its own, in the order in which it comes.

    One thread, because models that run side by side would spoil each other's times, and because every thread that
    calls torch keeps threads of its own.

    Args:
        max_waiting: Callers inside at most, the one that is served included.
        patience_s: How long a caller waits at most.
    """

    def __init__(self, max_waiting: int = 64, patience_s: float = 30.0) -> None:
        self.patience_s = patience_s
        self._places = BoundedSemaphore(max_waiting)
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="models")

    def run(self, work: Callable[[], T]) -> T:
        """Return what ``work`` returns.

        Raises:
            Refusal: If there is no place, the turn does not come in time, or the gate is closed.
        """
        if not self._places.acquire(blocking=False):
            raise refusal(HTTPStatus.SERVICE_UNAVAILABLE)
        try:
            try:
                future = self._worker.submit(work)
            except RuntimeError:  # closed
                raise refusal(HTTPStatus.SERVICE_UNAVAILABLE) from None
            try:
                return future.result(self.patience_s)
            except TimeoutError:
                future.cancel()
                raise refusal(HTTPStatus.SERVICE_UNAVAILABLE) from None
        finally:
            self._places.release()

    def close(self) -> None:
        """Let the work that runs finish, and take no more."""
        self._worker.shutdown(cancel_futures=True)
