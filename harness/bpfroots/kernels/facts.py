"""What was once found out about a file, valid while its size and modification time stand.

A warm start asks for the compiler's version and the tarball's digest; both cost more than
all the rest of it together.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import msgspec

from bpfroots.settings import cache_root


def remember(what: str, path: Path, find_out: Callable[[], str]) -> str:
    """``find_out()``, or what it said before about the same file in the same state."""
    real = path.resolve()
    status = real.stat()
    key = f"{what} {real} {status.st_size} {status.st_mtime_ns} {status.st_ino}"
    store = cache_root() / "facts.json"
    known = _load(store)
    if key in known:
        return known[key]
    value = find_out()
    prefix = f"{what} {real} "
    kept = {k: v for k, v in _load(store).items() if not k.startswith(prefix)}
    # Two writers may lose one another's fact: it is found out once more, no harm.
    scratch = store.with_suffix(f".{os.getpid()}.tmp")
    scratch.write_bytes(msgspec.json.encode({**kept, key: value}))
    scratch.replace(store)
    return value


def _load(store: Path) -> dict[str, str]:
    try:
        return msgspec.json.decode(store.read_bytes(), type=dict[str, str])
    except (OSError, msgspec.DecodeError):
        return {}
