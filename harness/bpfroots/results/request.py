"""What a run was asked for: in run.json, and all that `--resume` needs."""

from __future__ import annotations

from typing import Literal

import msgspec

from bpfroots.programs.protocol import Mechanism
from bpfroots.results.key import Key

#: What a load may take where KVM runs the guest, in seconds.
TIMEOUT_S = 30.0


#: What a run folder is of: a run of cells, or what `bpfroots.selftest` and `bpfroots.bisect` do.
Kind = Literal["run", "compare", "load", "ab", "pytest", "nightly", "selftest", "bisect", "bisect-step"]


class Cases(msgspec.Struct, frozen=True, tag="cases", omit_defaults=True):
    """Cases of testcases/: those that match ``expression``, under ``mechanisms`` (all where it is empty).

    ``full``: every generated combination. ``only``: single cells, where these were chosen.
    """

    expression: str = ""
    mechanisms: tuple[Mechanism, ...] = ()
    full: bool = False
    only: tuple[Key, ...] = ()


class Objects(msgspec.Struct, frozen=True, tag="objects", omit_defaults=True):
    """A user's own objects and sources, by absolute path, and how they are loaded; see `protocol.Load`.
    ``expect`` is the file of programs that need not be accepted (`programs.allowed`). ``any_verdict``:
    nothing is expected of them. ``name`` is the first part of their names, ``include`` are directories where
    sources find headers."""

    paths: tuple[str, ...]
    mechanisms: tuple[Mechanism, ...] = ("duplicate",)
    library: str = ""
    target: str = ""
    globals: dict[str, str] = {}
    fixups: bool = True
    timeout_s: float = TIMEOUT_S
    expect: str = ""
    any_verdict: bool = False
    name: str = "load"
    include: tuple[str, ...] = ()


class Together(msgspec.Struct, frozen=True, tag="together", omit_defaults=True):
    """Several of them in one run. ``only``: of all, the cells with these names."""

    parts: tuple[Cases | Objects, ...]
    only: tuple[str, ...] = ()


What = Cases | Objects | Together


class Selftests(msgspec.Struct, frozen=True, omit_defaults=True):
    """The kernel tree's own tests: ``program`` is one of tools/testing/selftests/bpf. ``tests`` are names or
    patterns, TEST or TEST/SUBTEST; all where there are none. ``guests`` at once, None for what the host
    carries. ``timeout_s`` is for one test or subtest under KVM. ``as_is``: kernels are configured as they are
    defined, not as their tests ask for. ``allow``, ``deny`` and ``splat_allow`` are paths of ALLOWLIST,
    DENYLIST and SPLAT_ALLOWLIST files, or of directories with such files."""

    program: str
    kernels: tuple[str, ...]
    tests: tuple[str, ...] = ()
    accel: str = "auto"
    guests: int | None = None
    timeout_s: int = 120
    as_is: bool = False
    allow: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()
    splat_allow: tuple[str, ...] = ()


class Request(msgspec.Struct, frozen=True, omit_defaults=True):
    """A run of cells. ``kernels`` are as ``--kernel`` has them. ``cost``: measure instructions per run.
    ``reuse``: take cells from earlier runs where nothing has changed. ``guests`` at once, None for what the
    host carries."""

    kernels: tuple[str, ...]
    what: What
    kind: Kind = "run"
    accel: str = "auto"
    guests: int | None = None
    cost: bool = False
    reuse: bool = False
