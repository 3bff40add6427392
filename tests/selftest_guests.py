"""Guests in which test_progs or test_maps does what a test says: its workers cannot tell."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

from bpfroots.errors import GuestCrash, GuestError
from bpfroots.machine import Machine


@dataclass(kw_only=True)
class FakeGuest:
    """What a worker asks of any guest. ``splat`` is what its kernel has said."""

    splat: GuestError | None = None
    closed: bool = False

    def clean(self) -> bool:
        return self.splat is None

    def allowed(self) -> list[Any]:
        return []

    def close(self) -> None:
        self.closed = True


@dataclass
class ProgsGuest(FakeGuest):
    """A guest whose test_progs does what ``acts`` says, test by test: "ok", "fail", "exit", "slow",
    "once" (fails and then never again), a splat that is seen as the test ends, or an error that the guest is
    lost with."""

    acts: dict[str, Any]
    summary: dict[str, Any] | None = None
    asked: list[str] = field(default_factory=list)
    command: str = ""
    #: What the kernel says in a test is seen as the test before it ends: the host is slow.
    late: bool = False
    _ok: int = 0
    _failed: list[str] = field(default_factory=list)

    def run(self, command: str, *, stdin: bytes, deadline: float, no_output: float) -> Any:
        assert "./test_progs" in command
        assert 0 < no_output < deadline
        self.command = command
        self.asked = [line[1:] for line in stdin.decode().splitlines() if line[0] == "+"]
        return Running(self._lines())

    def output(self, command: str) -> Any:
        assert "summary.json" in command
        counts = {"success": self._ok, "success_subtest": 0, "failed": len(self._failed), "failed_subtest": 0}
        results = [
            {"name": name, "failed": True, "message": "", "number": 1, "subtests": []}
            for name in self._failed
        ]
        return SimpleNamespace(stdout=json.dumps(self.summary or counts | {"results": results}).encode())

    def _lines(self) -> Iterator[bytes]:
        for number, name in enumerate(self.asked, 1):
            act = self.acts.get(name, "ok")
            if isinstance(act, GuestError):
                raise act
            if act == "exit":
                yield b"Caught signal #11!"
                return
            if act == "slow":
                said = f"WATCHDOG: test case {name}/x executes for 480 seconds, terminating with SIGSEGV"
                yield said.encode()
            if act == "once":
                self.acts[name], act = "ok", "fail"
            coming = self.acts.get(self.asked[number]) if number < len(self.asked) else None
            if self.late and isinstance(coming, GuestError):
                self.splat = coming
            if act == "splat":
                self.splat = GuestCrash(f"WARNING in {name}")
            if act == "fail":
                self._failed.append(name)
                yield f"{name}:FAIL:attach unexpected error: -22".encode()
            yield f"#{number:<7} {name}:{'FAIL' if act == 'fail' else 'OK'}".encode()
            if self.splat:
                raise self.splat
            self._ok += act != "fail"


class Running:
    def __init__(self, lines: Iterator[bytes]) -> None:
        self._lines = lines
        self.status = 139

    def __iter__(self) -> Iterator[bytes]:
        return self._lines


class ProgsGuests:
    """Fresh guests; ``acts`` of the first, the second, ...; the last one's of all that follow."""

    def __init__(self, *acts: dict[str, Any], late: bool = False) -> None:
        self._acts = list(acts)
        self._late = late
        self.made: list[ProgsGuest] = []

    def __call__(self) -> Machine:
        acts = self._acts.pop(0) if len(self._acts) > 1 else self._acts[0]
        self.made.append(ProgsGuest(acts, late=self._late))
        return cast("Machine", self.made[-1])
