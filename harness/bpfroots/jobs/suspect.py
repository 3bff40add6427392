"""What a guest was lost in: whose fault it is, once that has run again, alone in a fresh guest."""

from __future__ import annotations

from collections.abc import Sequence

from bpfroots.errors import GuestError
from bpfroots.report.text import plural

# What the kernel has done wrong counts, whether or not it does it again.
_KERNELS_FAULT = ("guest_crash", "guest_hang")
_SHOWN = 3


def is_kernels_fault(error: GuestError) -> bool:
    """Has the kernel done something wrong, or did the guest only not come to an end?"""
    return error.outcome in _KERNELS_FAULT


def again(error: GuestError, alone: GuestError) -> tuple[GuestError, str]:
    """Of what a guest was lost with among others, and then alone: the one that tells more, and a note."""
    telling = alone if is_kernels_fault(alone) or not is_kernels_fault(error) else error
    return telling, "again when run alone in a fresh guest"


def not_alone(before: Sequence[str], noun: str) -> str:
    """The note where it came to its end alone; ``before`` had run in the guest that was lost."""
    shown = ", ".join(before[-_SHOWN:])
    if not before:
        return "not when run again in a fresh guest"
    return f"not when run alone in a fresh guest; before it ran {plural(len(before), noun)}, last {shown}"
