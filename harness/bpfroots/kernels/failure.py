"""What a build that failed says of itself, in one line."""

from __future__ import annotations

import re
from pathlib import Path

from bpfroots import cache
from bpfroots.errors import InfraError, KernelError

_COMPILER_ERROR = re.compile(r"^(?:\.\./)*(\S+?:\d+)(?::\d+)?: (?:fatal error|error|Error): (.*)$")
_LINK_ERROR = re.compile(r"^(?:.*/)?ld(?:\.bfd)?: (.*)$")
_MAKE_ERROR = re.compile(r"^(?:make(?:\[\d+\])?: )?\*\*\* (.*)$")


def failure(what: str, text: str, log: Path) -> KernelError | InfraError:
    """The error for make's output ``text``, which is in the file ``log`` where that exists."""
    if "No space left on device" in text:
        return cache.out_of_space(log.parent)
    if "Killed signal terminated program" in text:
        return InfraError(f"{what}: the compiler was killed: not enough memory?", detail=f"log: {log}")
    found = _first_error(text)
    failed = KernelError(
        f"{what}: {found}" if found else what,
        detail=f"log: {log}" if log.is_file() else text.strip()[-800:],
        hint="fix the source and run again: what is built is kept",
    )
    failed.log = log if log.is_file() else None
    return failed


def _first_error(log: str) -> str:
    lines = log.splitlines()
    for pattern in (_COMPILER_ERROR, _LINK_ERROR, _MAKE_ERROR):
        for line in lines:
            if match := pattern.match(line.strip()):
                return ": ".join(match.groups())
    return ""
