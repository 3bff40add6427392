"""What a nightly job is to do: one TOML file."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal, get_args

import msgspec

from bpfroots import kernels, tomlfile
from bpfroots.ab.comparison import Options
from bpfroots.ab.filters import fail_on, filters
from bpfroots.errors import UserError
from bpfroots.history.trend import THRESHOLDS
from bpfroots.kernels.resolve import ON_TOP
from bpfroots.machine.splats import read_allowances
from bpfroots.programs import allowed as exceptions
from bpfroots.programs import cases
from bpfroots.report import kcidb
from bpfroots.selftest import progs_lists
from bpfroots.settings import anchored

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")


class _Struct(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="type"):
    pass


class Git(_Struct, frozen=True, tag="git"):
    """`git fetch` in a repository that kernels are taken from."""

    tree: str
    remote: str = "origin"


class Debian(_Struct, frozen=True, tag="debian"):
    """`apt-get install --only-upgrade`: the newest kernel source that the archive has."""

    package: str


class Cells(_Struct, frozen=True, tag="cells"):
    """Cases, as `bpfroots run` runs them. ``cases`` is -k; all mechanisms where none are named."""

    kernels: tuple[str, ...]
    mechanisms: tuple[str, ...] = ()
    cases: str = ""
    full: bool = False
    cost: bool = True


class TestVerifier(_Struct, frozen=True, tag="test_verifier"):
    """The kernel tree's own test_verifier, as `bpfroots selftest` runs it."""

    kernels: tuple[str, ...]
    testmod: bool = True
    logs: bool = False


class TestProgs(_Struct, frozen=True, tag="test_progs"):
    """test_progs of each kernel's own tree, as `bpfroots selftest` runs it: ``tests`` is -t, ``deny``,
    ``allow``, ``splat_allow``, ``timeout`` and ``as_is`` are the options of that name."""

    kernels: tuple[str, ...]
    tests: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()
    allow: tuple[str, ...] = ()
    splat_allow: tuple[str, ...] = ()
    timeout: int = 120
    as_is: bool = False


class TestMaps(_Struct, frozen=True, tag="test_maps"):
    """test_maps, as `TestProgs`."""

    kernels: tuple[str, ...]
    splat_allow: tuple[str, ...] = ()
    timeout: int = 120
    as_is: bool = False


class Ab(_Struct, frozen=True, tag="ab"):
    """Two kernels over the same programs, as `bpfroots ab` compares them. ``programs`` are paths and corpora;
    ``filter``, ``fail_on``, ``expect`` and ``cost`` are the options of that name."""

    kernels: tuple[str, ...]
    programs: tuple[str, ...]
    filter: tuple[str, ...] = ()
    fail_on: tuple[str, ...] = ()
    expect: str = ""
    cost: bool = False

    @property
    def options(self) -> Options:
        """Raises UserError for what makes no sense."""
        allowed = exceptions.read(Path(anchored(self.expect))) if self.expect else ()
        return Options(filters(self.filter), tuple(map(fail_on, self.fail_on)), allowed)


Update = Git | Debian
#: One more kind of work: a struct here, and what does it in `bpfroots.nightly.work`.
Work = Cells | TestVerifier | TestProgs | TestMaps | Ab


_TYPES = tuple(str(kind.__struct_config__.tag) for kind in get_args(Work))


class Retention(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``nights`` whose folders are kept, beside those that findings point at; 0: all."""

    nights: int = 30


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Nights of one ``name`` are compared with each other.

    ``notify`` is a command that gets the summary on stdin; "{subject}" in its words is replaced.
    ``scheduler``: run cells on the workers of the Dask scheduler there.
    ``kcidb_origin``: write kcidb.json, as the system that KCIDB knows by this name.
    """

    work: tuple[Work, ...]
    name: str = "nightly"
    accel: Literal["auto", "kvm", "tcg"] = "auto"
    guests: int | None = None
    scheduler: str = ""
    update: tuple[Update, ...] = ()
    thresholds: dict[str, float] = {}
    retention: Retention = Retention()
    notify: tuple[str, ...] = ()
    notify_when: Literal["always", "bad"] = "always"
    kcidb_origin: str = ""

    @property
    def kernels(self) -> list[str]:
        """All kernels that anything runs on, as they are asked for."""
        return list(dict.fromkeys(kernel for work in self.work for kernel in work.kernels))

    @property
    def limits(self) -> dict[str, float]:
        return {**THRESHOLDS, **self.thresholds}


def load(path: Path) -> Config:
    """Read a file, and see to it that all it names is there. Raises UserError, which names file and key."""
    config = tomlfile.read(
        path,
        Config,
        hint="docs/nightly.md has every key",
        absent="docs/nightly.md has a file to begin with",
    )
    try:
        return _checked(config)
    except UserError as error:
        msg = f"{path}: {error.message}"
        raise UserError(msg, detail=error.detail, hint=error.hint) from None


def _checked(config: Config) -> Config:
    if not _NAME.fullmatch(config.name):
        msg = f"name: {config.name!r} is not a name of a job"
        raise UserError(msg, hint="letters, digits, and any of . _ + -")
    if config.kcidb_origin and not kcidb.ORIGIN.fullmatch(config.kcidb_origin):
        msg = f"kcidb_origin: {config.kcidb_origin!r} is not an origin"
        raise UserError(msg, hint="lower-case letters, digits and _")
    if not config.work:
        msg = "work: there is nothing to do"
        raise UserError(msg, hint=f"[[work]] with a type: {', '.join(_TYPES)}")
    if bad := next((name for name in config.thresholds if name not in THRESHOLDS), None):
        msg = f"thresholds.{bad}: no such figure"
        raise UserError(msg, hint=f"one of {', '.join(THRESHOLDS)}")
    if bad := next((name for name, share in config.thresholds.items() if share < 0), None):
        msg = f"thresholds.{bad}: below 0"
        raise UserError(msg, hint="a share of what it was: 0.05 is 5 %")
    anchored = tuple(msgspec.structs.replace(work, kernels=_anchored(work.kernels)) for work in config.work)
    _check_once(anchored)
    for work in anchored:
        for kernel in work.kernels:
            kernels.resolve(kernel)
        if not work.kernels:
            msg = f"work: {work.__struct_config__.tag}: on no kernel"
            raise UserError(msg, hint='kernels = ["baseline", "patched"]')
        if isinstance(work, Cells):
            cases.select(work.cases or None, full=work.full)
            cases.mechanisms(work.mechanisms)
        if isinstance(work, TestProgs | TestMaps):
            _check_tests(work)
        if isinstance(work, Ab):
            _check_ab(work)
    return msgspec.structs.replace(config, work=anchored)


def _check_once(works: tuple[Work, ...]) -> None:
    """Results of a program are one file for each kernel."""
    seen = set()
    for work in works:
        for kernel in work.kernels if isinstance(work, TestProgs | TestMaps) else ():
            if (type(work), kernel) in seen:
                msg = f"work: {work.__struct_config__.tag}: twice on {kernel}"
                raise UserError(msg, hint="one [[work]] with the tests of both")
            seen.add((type(work), kernel))


def _check_tests(work: TestProgs | TestMaps) -> None:
    """The lists; which tests a tree has is seen when it is there."""
    name = work.__struct_config__.tag
    if work.timeout < 1:
        msg = f"work: {name}: timeout: {work.timeout} s is no time"
        raise UserError(msg, hint="seconds for a test under KVM, 120 by default")
    for path in work.splat_allow:
        read_allowances(Path(anchored(path)))
    if isinstance(work, TestProgs):
        for kind, paths in (("DENYLIST", work.deny), ("ALLOWLIST", work.allow)):
            for path in paths:
                progs_lists.read(Path(anchored(path)), kind)


def _check_ab(work: Ab) -> None:
    if len(dict.fromkeys(work.kernels)) != 2:
        msg = f"work: ab: on {len(work.kernels)} kernels, not two"
        raise UserError(msg, hint='kernels = ["baseline", "patched"]')
    if not work.programs:
        msg = "work: ab: no programs"
        raise UserError(msg, hint='programs = ["cases", "~/objects"]')
    assert work.options  # noqa: S101


def _anchored(names: tuple[str, ...]) -> tuple[str, ...]:
    """Paths start at the project's directory, wherever the job is started."""
    found = []
    for name in names:
        if match := ON_TOP.fullmatch(name):
            (below,) = _anchored((match[1],))
            found.append(f"{below}+{anchored(match[2])}" + (f"@{match[3]}" if match[3] else ""))
            continue
        tree, at, revision = name.rpartition("@") if "@" in name else (name, "", "")
        path = "/" in tree or tree.startswith("~")
        found.append(f"{anchored(tree)}{at}{revision}" if path else name)
    return tuple(found)
