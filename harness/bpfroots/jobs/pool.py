"""Guests that are ready before they are asked for."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

from bpfroots.machine import Machine


class Pool:
    """Fresh guests of one kernel; each is given out once. Safe between threads.

    ``make`` boots or clones one. Close it: guests that were not taken are ended.
    """

    def __init__(self, make: Callable[[], Machine]) -> None:
        self._make = make
        self._lock = threading.Lock()
        self._ready: deque[Future[Machine]] = deque()
        self._makers = ThreadPoolExecutor(thread_name_prefix="bpfroots-pool")
        self._closed = False

    def warm(self, count: int) -> None:
        """See to it that ``count`` guests are waiting, or on their way."""
        with self._lock:
            while len(self._ready) < count and not self._closed:
                self._ready.append(self._makers.submit(self._make))

    def take(self) -> Machine:
        """A fresh guest: one that waits, else one made now. Raises what making it raises."""
        with self._lock:
            waiting = self._ready.popleft() if self._ready else None
        return waiting.result() if waiting else self._make()

    def close(self) -> None:
        """End what was not taken; nothing is made any more."""
        with self._lock:
            self._closed = True
            left, self._ready = self._ready, deque()
        for future in left:
            if not future.cancel():
                future.add_done_callback(_end)
        self._makers.shutdown(wait=True, cancel_futures=True)


def _end(made: Future[Machine]) -> None:
    if not made.cancelled() and made.exception() is None:
        made.result().close()
