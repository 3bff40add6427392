"""What tells one result from another, within a run and from run to run."""

from __future__ import annotations

from typing import NamedTuple, Protocol


class Key(NamedTuple):
    """A case under a mechanism on a kernel, by names.

    ``mechanism`` is empty of what is no cell: a test of the kernel's own tree, a step of a night. ``kernel``
    is empty of a cell that is asked for, on whichever kernel. ``attempt`` counts where the same is
    run several times in a run.
    """

    case: str
    mechanism: str
    kernel: str = ""
    attempt: int = 1

    def on(self, kernel: str) -> Key:
        """The same on that kernel."""
        return self._replace(kernel=kernel)

    @property
    def anywhere(self) -> Key:
        """The same, whatever the kernel."""
        return self.on("")

    @property
    def how(self) -> str:
        """The mechanism, numbered from the second attempt on: ``MECHANISM.2``."""
        again = str(self.attempt) if self.attempt > 1 else ""
        return ".".join(filter(None, (self.mechanism, again)))

    @property
    def path(self) -> str:
        """For files, and wherever one word is wanted: ``CASE/KERNEL/MECHANISM``."""
        return "/".join(filter(None, (self.case, self.kernel, self.how)))

    def __str__(self) -> str:
        """For people: ``CASE (MECHANISM, KERNEL)``."""
        again = f"run {self.attempt}" if self.attempt > 1 else ""
        return f"{self.case} ({', '.join(filter(None, (self.mechanism, self.kernel, again)))})"


class _Parts(Protocol):
    @property
    def case(self) -> str: ...
    @property
    def mechanism(self) -> str: ...
    @property
    def kernel(self) -> str: ...


class Keyed:
    """What has the parts of a key as fields, as documents have them; ``attempt`` only where it matters."""

    __slots__ = ()

    @property
    def key(self: _Parts) -> Key:
        return Key(self.case, self.mechanism, self.kernel, getattr(self, "attempt", 1))
