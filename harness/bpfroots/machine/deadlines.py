"""How long anything about a machine may take, in one place."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Self


@dataclass(frozen=True, kw_only=True)
class Deadlines:
    """Upper bounds in seconds, as they are on a machine with KVM; see `scaled`.

    Every one of them ends in a verdict, so they are generous: what normally ends a wait is
    an event (a mark, an answer, a splat, QEMU's exit), never the clock.
    """

    #: QEMU's QMP greeting and each QMP command. Does not depend on what the guest does.
    qmp: float = 5.0
    #: From QEMU's start to the guest's ready mark. KASAN kernels boot 5 times slower.
    boot: float = 40.0
    #: From the ready mark to a logged-in SSH connection, and opening a channel later.
    ssh: float = 15.0
    #: From a clone's start to its first answer on the console; to write a template's state.
    wake: float = 10.0
    #: Does a silent guest still answer? A fresh connection and one command.
    probe: float = 4.0
    #: A command without a byte of output.
    no_output: float = 60.0
    #: A command from start to end.
    command: float = 300.0
    #: How long a failed command waits for an oops that is still on its way: a lost
    #: connection overtakes the console (syzkaller vm/vm.go, "connection lost can race").
    late_oops: float = 0.5
    #: How long the rest of a splat may take to be printed before the verdict.
    splat_end: float = 0.5

    def scaled(self, factor: float) -> Self:
        """The same bounds for a guest that runs ``factor`` times slower."""
        fields = {f.name: getattr(self, f.name) * factor for f in dataclasses.fields(self) if f.name != "qmp"}
        return dataclasses.replace(self, **fields)
