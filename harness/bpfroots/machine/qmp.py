"""QEMU's control socket, for callers that are not asyncio."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import re
import socket
import threading
import time
from collections.abc import Coroutine
from typing import Any, TypeVar

from qemu.qmp import EventListener, Message, QMPClient, QMPError, Runstate

from bpfroots.machine.events import Post, QmpEvent
from bpfroots.machine.failure import QmpFailure

# Its own reports of a QEMU that went away would reach stderr; we say it in our words.
logging.getLogger("qemu.qmp").addHandler(logging.NullHandler())
logging.getLogger("qemu.qmp").propagate = False
_log = logging.getLogger(__name__)

_T = TypeVar("_T")


@functools.cache
def _loop() -> asyncio.AbstractEventLoop:
    """One event loop for all machines, on a thread of its own."""
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="bpfroots-qmp", daemon=True).start()
    return loop


_loop_lock = threading.Lock()


class _Forward(EventListener):
    """Hands events on as they arrive, before anything that follows them is read."""

    def __init__(self, name: str, post: Post) -> None:
        super().__init__()
        self._name = name
        self._post = post

    async def put(self, event: Message) -> None:
        data = event.get("data")
        _log.debug("%s: event %s %s", self._name, event["event"], data or "")
        self._post(QmpEvent(str(event["event"]), dict(data) if isinstance(data, dict) else {}))


class Qmp:
    """One QEMU's monitor on a connected socket, which it takes over."""

    def __init__(self, sock: socket.socket, name: str, post: Post) -> None:
        with _loop_lock:
            self._event_loop = _loop()
        self._sock = sock
        self._name = name
        self._client = QMPClient(name)
        self._client.register_listener(_Forward(name, post))
        # A failing connect() of qemu.qmp disconnects by itself, and two disconnects at once trip over
        # its assertions: a QEMU that dies at its start must not be drained before that is over.
        self._connecting = asyncio.Lock()

    def connect(self, timeout: float) -> None:
        """Wait for QEMU's greeting. Raises QmpFailure."""
        self._sock.setblocking(False)
        self._await(self._connect(), timeout, "greeting")

    async def _connect(self) -> None:
        async with self._connecting:
            await self._client.connect(self._sock)

    def execute(self, command: str, arguments: dict[str, object] | None = None, *, timeout: float) -> Any:
        """One command's return value. Raises QmpFailure, after ``timeout`` seconds at the latest."""
        _log.debug("%s: %s %s", self._name, command, arguments or "")
        return self._await(self._client.execute(command, arguments), timeout, command)

    def ssh_port(self, timeout: float) -> int:
        """The host port that QEMU bound for the forward to the guest's port 22."""
        text = self.usernet(timeout)
        match = re.search(r"TCP\[HOST_FORWARD\]\s+\d+\s+127\.0\.0\.1\s+(\d+)\s+\S+\s+22\b", text)
        if match is None:
            msg = f"no forwarded port in its answer to 'info usernet': {text!r}"
            raise QmpFailure(msg)
        return int(match.group(1))

    def usernet(self, timeout: float) -> str:
        """Forwards and connections of user-mode networking, as "info usernet" prints them.

        The only place that has them (net/slirp.c; QEMU 7.2 has no QMP command).
        """
        words: dict[str, object] = {"command-line": "info usernet"}
        return str(self.execute("human-monitor-command", words, timeout=timeout))

    def drain(self, timeout: float) -> None:
        """Wait until everything a QEMU that ended had sent is read, and let go of the socket."""
        with contextlib.suppress(QmpFailure):
            self._await(self._end(), timeout, "end")

    async def _end(self) -> None:
        while self._client.runstate == Runstate.RUNNING:
            await self._client.runstate_changed()
        async with self._connecting:
            with contextlib.suppress(QMPError, OSError, EOFError):
                await self._client.disconnect()

    def _await(self, work: Coroutine[Any, Any, _T], timeout: float, what: str) -> _T:
        start = time.monotonic()
        future = asyncio.run_coroutine_threadsafe(work, self._event_loop)
        try:
            answer = future.result(timeout)
        except TimeoutError:
            future.cancel()
            msg = f"no answer to {what} within {timeout:g} s"
        except (QMPError, OSError, EOFError) as error:
            msg = f"{what}: {error}"
        else:
            _log.debug("%s: %s took %.3f s", self._name, what, time.monotonic() - start)
            return answer
        _log.debug("%s: %s", self._name, msg)
        raise QmpFailure(msg)
