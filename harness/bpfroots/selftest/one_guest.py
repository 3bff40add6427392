"""The guest that a worker has: one at a time, which another thread may end."""

from __future__ import annotations

import threading
from collections.abc import Callable

from bpfroots.machine import Machine


class OneGuest:
    """``fresh`` gives guests. ``stop`` may be called from another thread; after it, none stays alive."""

    def __init__(self, fresh: Callable[[], Machine]) -> None:
        self.stopped = False
        self._fresh = fresh
        self._guest: Machine | None = None
        self._lock = threading.Lock()

    def take(self) -> Machine:
        """A fresh one. Raises KernelError or InfraError where none can be had."""
        machine = self._fresh()
        with self._lock:
            self._guest = machine
        if self.stopped:
            self.end()
        return machine

    def end(self) -> None:
        """Close it, if there is one."""
        with self._lock:
            guest, self._guest = self._guest, None
        if guest is not None:
            guest.close()

    def stop(self) -> None:
        """End it, and each that is taken from now on."""
        self.stopped = True
        self.end()
