"""What QEMU's monitor and the guest's SSH server fail with, apart from the libraries that talk to them: those
are imported while QEMU starts."""

from __future__ import annotations


class QmpFailure(Exception):
    """QEMU did not answer: gone, stopped, or it refused the command."""


class SshFailure(Exception):
    """No connection: why, in words. ``final``: asking again gets the same answer."""

    def __init__(self, message: str, *, final: bool = False) -> None:
        super().__init__(message)
        self.final = final
