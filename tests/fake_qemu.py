#!/usr/bin/env python3
"""A QEMU that runs no guest: enough of QMP and a console to test what must be made of it.

The word fake=MODE on the kernel command line says what it does; its pid goes to $FAKE_QEMU_PID.
"""

import contextlib
import json
import os
import re
import signal
import socket
import sys
import time
from pathlib import Path
from typing import NoReturn

PANIC = (
    "[    1.000000] Kernel panic - not syncing: VFS: Unable to mount root fs on unknown-block(0,0)\r\n"
    "[    1.000001] CPU: 0 UID: 0 PID: 1 Comm: swapper/0 Not tainted 6.12.0 #1\r\n"
)


class Monitor:
    def __init__(self, fd: int, port: int) -> None:
        self._socket = socket.socket(fileno=fd)
        self._port = port

    def send(self, message: object) -> None:
        self._socket.sendall(json.dumps(message).encode() + b"\r\n")

    def event(self, name: str, **data: object) -> None:
        now = {"seconds": int(time.time()), "microseconds": 0}
        self.send({"event": name, "data": data, "timestamp": now})

    def greet(self) -> None:
        version = {"qemu": {"major": 7, "minor": 2, "micro": 0}, "package": ""}
        self.send({"QMP": {"version": version, "capabilities": []}})
        for _ in range(2):  # qmp_capabilities, info usernet
            self._answer(self._request())

    def _request(self) -> dict[str, object]:
        """Clients end a message as they like, qemu.qmp with nothing at all."""
        text = ""
        while data := self._socket.recv(4096).decode():
            text += data
            with contextlib.suppress(json.JSONDecodeError):
                request: dict[str, object] = json.loads(text)
                return request
        sys.exit("fake_qemu.py: the client hung up")

    def _answer(self, request: dict[str, object]) -> None:
        result: object = {}
        if request["execute"] == "human-monitor-command":
            head = "  Protocol[State]    FD  Source Address  Port   Dest. Address  Port RecvQ SendQ\r\n"
            forward = (
                f"  TCP[HOST_FORWARD]  12       127.0.0.1 {self._port}      10.0.2.15    22     0     0\r\n"
            )
            result = head + (forward if self._port else "")
        self.send({"return": result} | {key: request[key] for key in request if key == "id"})

    def close(self) -> None:
        self._socket.close()


def say(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def for_ever() -> NoReturn:
    while True:
        signal.pause()


def main() -> None:
    line = " ".join(sys.argv)
    mode = re.search(r"fake=([\w-]+)", line)
    descriptor = re.search(r"id=qmp,fd=(\d+)", line)
    assert mode is not None
    assert descriptor is not None
    Path(os.environ["FAKE_QEMU_PID"]).write_text(str(os.getpid()))
    if mode[1] == "die":
        sys.stderr.write(
            "qemu-system-x86_64: -device pvpanic-pci: 'pvpanic-pci' is not a valid device model name\n"
        )
        sys.exit(1)
    if mode[1] == "mute":
        for_ever()
    listener = socket.create_server(("127.0.0.1", 0))
    port = 0 if mode[1] == "no-port" else listener.getsockname()[1]
    monitor = Monitor(int(descriptor[1]), port)
    monitor.greet()
    act(mode[1], monitor, listener)


def act(mode: str, monitor: Monitor, listener: socket.socket) -> None:
    if mode == "flood":
        block = "[    1.000000] nothing to see here, move along, but do so again and again please\r\n" * 1000
        for _ in range(100_000_000 // len(block)):
            say(block)
    if mode in ("flood", "panic"):
        say(PANIC)
        monitor.event("GUEST_PANICKED", action="run")
        monitor.event("SHUTDOWN", guest=True, reason="guest-reset")
        return
    if mode == "reset":
        say("[    0.000000] Linux version 6.12.0\r\n")
        monitor.event("SHUTDOWN", guest=True, reason="guest-reset")
        return
    if mode == "closes-qmp":
        monitor.close()
    elif mode == "stops":
        sys.stderr.write("KVM internal error. Suberror: 1\n")
        sys.stderr.flush()
        monitor.event("STOP")
    elif mode == "init-failed":
        say("[    2.0] bpfroots: init failed: no network device eth0\r\n")
    elif mode in ("ssh-stalls", "ssh-refused"):
        if mode == "ssh-refused":
            listener.close()
        say("[    2.0] bpfroots: ready\r\n")
    for_ever()


if __name__ == "__main__":
    main()
