"""The ways things go wrong, and whose fault each is.

The type decides the exit code (docs/reference.md): a user error is 2, a kernel that
does not apply, build or boot is 3, our own infrastructure is 4. Crash, hang and timeout
happen to one cell of a run and are recorded there; they end a command only where
there is no cell to hold them.
"""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import ClassVar, Literal, NamedTuple

from bpfroots import exitcodes
from bpfroots.escape import visible


class Where(NamedTuple):
    """A console log, and the line of it that matters; 0: none in particular."""

    path: str
    line: int = 0

    def __str__(self) -> str:
        return f"{self.path}:{self.line}" if self.line else self.path


class BpfrootsError(Exception):
    """Something a person has to read: what happened and where, then what to do.

    ``message`` is one line without a trailing full stop. ``detail`` are further
    lines, shown indented. ``hint`` says what to do next. ``console`` is where a guest's console tells more.
    """

    exit_code = exitcodes.INFRA

    def __init__(
        self, message: str, *, detail: str = "", hint: str = "", console: Where | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.detail = detail
        self.hint = hint
        self.console = console

    def render(self) -> str:
        """The text for stderr: message, indented detail, hint; safe to print (`visible`)."""
        lines = [self.message, *([f"  console  {self.console}"] if self.console else [])]
        lines += [f"  {line}" for line in self.detail.splitlines()]
        if self.hint:
            lines.append(f"  try: {self.hint}")
        return visible("\n".join(lines))


class UserError(BpfrootsError):
    """Bad input or usage: an unknown name, C that does not compile, a truncated ELF."""

    exit_code = exitcodes.USAGE


class KernelError(BpfrootsError):
    """The kernel does not apply, configure or build, or something in it is missing (BTF).

    ``log`` is what a build that failed has written, ``kernel`` the name of one that a run had to do without;
    whoever knows sets them.
    """

    exit_code = exitcodes.KERNEL
    log: Path | None = None
    kernel: str = ""


class BootError(KernelError):
    """The kernel started but never reached a usable user space."""

    def __init__(
        self, message: str, *, detail: str = "", hint: str = "", console: Where | None = None
    ) -> None:
        hint = hint or (f"less {shlex.quote(console.path)}" if console else "")
        super().__init__(message, detail=detail, hint=hint, console=console)


class InfraError(BpfrootsError):
    """Our side: a missing tool, an unusable accelerator, QEMU gone, a full disk."""

    exit_code = exitcodes.INFRA


GuestOutcome = Literal["guest_crash", "guest_hang", "timeout", "infra_error"]


class GuestError(BpfrootsError):
    """A guest that had booted stopped being usable. Belongs to the running cell.

    ``outcome`` is the cell's, ``exit_code`` what a cell of that outcome ends a run with.
    """

    exit_code = exitcodes.INFRA
    outcome: ClassVar[GuestOutcome] = "infra_error"
    #: The load that was running when the kernel complained, else the last one; "" where there was none.
    during = ""
    #: Seconds since the load that is given up for it began; 0 where none had.
    after_s = 0.0


class GuestCrash(GuestError):
    """Panic, oops, BUG, WARN or sanitizer report on the guest's console."""

    exit_code = exitcodes.UNEXPECTED
    outcome = "guest_crash"


class GuestHang(GuestError):
    """The guest runs but answers nothing any more."""

    exit_code = exitcodes.UNEXPECTED
    outcome = "guest_hang"


class GuestTimeout(GuestError):
    """The guest answers, but the command did not finish within its deadline."""

    exit_code = exitcodes.UNEXPECTED
    outcome = "timeout"


class GuestLost(GuestError):
    """QEMU or the connection went away without a word from the guest: nothing is known of the kernel."""
