"""Which Linux a release is: 6.12.117, 7.3.4+deb13-cloud-amd64, 7.3.0-rc1."""

from __future__ import annotations

import re

_NUMBERS = re.compile(r"(\d+)\.(\d+)(?:\.(\d+))?")


def number(release: str) -> tuple[int, int, int] | None:
    """Its three numbers; a release candidate has those of what it becomes. None for no release of Linux."""
    match = _NUMBERS.match(release)
    return (int(match[1]), int(match[2]), int(match[3] or 0)) if match else None


def within(release: str, since: str, before: str) -> bool:
    """Whether it is ``since`` or later, and ``before`` another ("6.6", "6.12.100"; empty for no limit). One
    that is not known is taken for the newest."""
    found = number(release)
    first, end = number(since), number(before)
    if found is None:
        return end is None
    return (first is None or found >= first) and (end is None or found < end)
