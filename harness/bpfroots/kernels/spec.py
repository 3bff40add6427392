"""What kernel is asked for: the definitions in ``kernels/NAME.toml``.

Definitions are data; nothing here runs a command.
"""

from __future__ import annotations

import difflib
import re
from pathlib import Path

import msgspec

from bpfroots import tomlfile
from bpfroots.errors import UserError
from bpfroots.settings import anchored, resource, resources, shown
from bpfroots.shape import STANDARD, Shape

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")


def is_url(text: str) -> bool:
    """Whether it names something on another machine, and not a path."""
    return "://" in text


class _Source(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="type"):
    pass


class DebianSource(_Source, frozen=True, tag="debian-source"):
    """The tarball that the Debian package ``package`` installs under /usr/src. With ``suites`` it need not be
    installed: it is fetched from there, into the cache."""

    package: str
    version: str
    suites: tuple[str, ...] = ()


class Tarball(_Source, frozen=True, tag="tarball"):
    """A tar archive with one top directory: at ``path``, or at ``url`` and then with this ``sha256`` (in hex;
    empty: not checked)."""

    path: str = ""
    url: str = ""
    sha256: str = ""


class Directory(_Source, frozen=True, tag="directory"):
    """A source tree of the user: built out of tree, never written to."""

    path: str


class Checkout(_Source, frozen=True, tag="checkout"):
    """A git work tree that changes between builds, as under ``git bisect``: built from a tree of links to it,
    which takes over baseline's objects and rebuilds what a checkout has changed. Options that one of its
    revisions does not have are left out."""

    path: str


class GitRevision(_Source, frozen=True, tag="git"):
    """One revision of a git repository; ``tree`` is its path or its URL."""

    tree: str
    rev: str


Source = DebianSource | Tarball | Directory | Checkout | GitRevision


class _Machine(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``[machine]``: see `Definition.shape` and `Definition.countable`."""

    cpus: int = 1
    memory_mib: int = 256
    icount: bool = True


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    source: Source | tuple[Source, ...] | None = None
    base: str | None = None
    series: str | tuple[str, ...] = ()
    config: tuple[str, ...] = ()
    provides: tuple[str, ...] = ()
    cmdline: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()
    machine: _Machine | None = None


class Definition(msgspec.Struct, frozen=True):
    """A kernel to build, from ``source`` or, where that has none, the first of ``others`` that has one. With
    ``base`` the source is the base's, and fragments, command line and
    series add to the base's; ``series`` are paths that `series.read` takes, in the order in which they
    apply. The last ``own`` of them are not of the base; of these only the first ``patches`` patches, where
    that is given. ``below`` is the argument of the kernel that the last series was put on top of, empty of a
    kernel that has none but its own. ``absent``: options of the fragments that this kernel does not have.
    ``tree_config`` are fragments of the tree's own, which come first: of them the kernel gets what it can,
    and all that no fragment names is as the tree has it by default (see `selftests`).
    ``shape`` is that of its guests. ``countable``: the cost pass may count instructions of it, on one CPU
    under TCG; false for a kernel that is too slow for that."""

    name: str
    source: Source
    config: tuple[Path, ...]
    others: tuple[Source, ...] = ()
    base: str | None = None
    series: tuple[Path, ...] = ()
    own: int = 0
    provides: tuple[str, ...] = ()
    cmdline: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()
    shape: Shape = STANDARD
    countable: bool = True
    origin: Path | None = None
    patches: int | None = None
    below: str = ""
    tree_config: tuple[Path, ...] = ()

    @property
    def argument(self) -> str:
        """What ``--kernel`` takes for it, wherever bpfroots is started."""
        if self.below:
            return f"{self.below}+{self.series[-1]}" + ("" if self.patches is None else f"@{self.patches}")
        if self.origin is None:
            match self.source:
                case Directory(path):
                    return path
                case Tarball(path, url):
                    return path or url
                case GitRevision(tree, rev):
                    return f"{tree}@{rev}"
        return self.name


def names() -> list[str]:
    """The definitions in ``kernels/``, sorted."""
    return [path.stem for path in resources("kernels", "*.toml")]


def load(name: str, _seen: tuple[str, ...] = ()) -> Definition:
    """The definition ``name``. Raises UserError, which names the file and the key."""
    if name in _seen:
        msg = f"kernels/{name}.toml: base leads back to itself: {' -> '.join((*_seen, name))}"
        raise UserError(msg, hint="remove one `base`")
    path = resource(f"kernels/{name}.toml")
    if not _NAME.fullmatch(name) or not path.is_file():
        raise unknown(name)
    given = _read(path)
    where = shown(path)
    if (given.source is None) == (given.base is None):
        msg = f"{where}: needs exactly one of [source] and base"
        raise UserError(msg, hint='base = "baseline" takes the source and configuration of baseline')
    own = _own(name, path, given)
    return own if given.base is None else _on_top(load(given.base, (*_seen, name)), own, given)


def _own(name: str, path: Path, given: _File) -> Definition:
    """What a file says by itself. With a base, its source is only a place holder."""
    where = shown(path)
    listed = (given.series,) if isinstance(given.series, str) else given.series
    series = tuple(_series(where, name) for name in listed)
    machine = given.machine or _Machine()
    places = given.source if isinstance(given.source, tuple) else (given.source or Directory(""),)
    if not places:
        msg = f"{where}: source: no place is named"
        raise UserError(msg)
    first, *others = (_anchored(where, place) for place in places) if given.source else places
    return Definition(
        name=name,
        source=first,
        others=tuple(others),
        config=tuple(_fragment(where, fragment) for fragment in given.config),
        series=series,
        own=len(series),
        provides=given.provides,
        cmdline=given.cmdline,
        absent=given.absent,
        shape=Shape(machine.cpus, machine.memory_mib),
        countable=machine.icount,
        origin=path,
    )


def _on_top(base: Definition, own: Definition, given: _File) -> Definition:
    """A definition with a base: the base's source, and everything else added to the base's."""
    return msgspec.structs.replace(
        own,
        base=base.name,
        source=base.source,
        others=base.others,
        config=base.config + own.config,
        series=base.series + own.series,
        provides=tuple(dict.fromkeys(base.provides + own.provides)),
        cmdline=base.cmdline + own.cmdline,
        absent=base.absent + own.absent,
        shape=own.shape if given.machine else base.shape,
        countable=own.countable if given.machine else base.countable,
    )


def prefix(name: str, patches: int) -> Definition:
    """The kernel ``name`` with only the first ``patches`` patches of its own series: ``NAME@PATCHES``.

    Mechanisms that the definition provides come with the whole series. Raises UserError where there
    is no series; whether it is long enough is seen where it is read.
    """
    whole = load(name)
    if not whole.own:
        msg = f"{name}@{patches}: kernel {name} has no series of its own"
        raise UserError(msg, hint="NAME@N is NAME with the first N patches of its series")
    provides = load(whole.base).provides if whole.base else ()
    return msgspec.structs.replace(whole, name=f"{name}@{patches}", provides=provides, patches=patches)


def extended(name: str, fragment: str) -> Definition:
    """The kernel ``name`` with one configuration fragment more: ``NAME+FRAGMENT``. Raises UserError."""
    whole = load(name)
    argument = f"{name}+{fragment}"
    return msgspec.structs.replace(
        whole, name=argument, config=(*whole.config, _fragment(argument, fragment))
    )


def unknown(argument: str) -> UserError:
    """The error for a kernel that is not known, with the nearest name."""
    known = names()
    near = difflib.get_close_matches(argument, known, 1)
    hint = f"--kernel {near[0]}" if near else "a source tree, a build directory, a bzImage or TREE@REV"
    return UserError(
        f"kernel {argument}: no such definition and no such path",
        detail=f"definitions: {', '.join(known) or 'none'}",
        hint=hint,
    )


def _read(path: Path) -> _File:
    return tomlfile.read(path, _File, shown(path), hint=f"known keys: {', '.join(_File.__struct_fields__)}")


def _fragment(where: str, name: str) -> Path:
    path = resource(f"kernels/config/{name}.config")
    if not path.is_file():
        known = [path.stem for path in resources("kernels/config", "*.config")]
        near = difflib.get_close_matches(name, known, 1) or known
        msg = f"{where}: config fragment {name}: no kernels/config/{name}.config"
        raise UserError(msg, hint=f"there is: {', '.join(near)}")
    return path


def _series(where: str, name: str) -> Path:
    path = resource(f"kernels/patches/{name}")
    if not path.exists():
        msg = f"{where}: series {name}: no kernels/patches/{name}"
        raise UserError(msg, hint="git format-patch -o there")
    return path


def _anchored(where: str, source: Source) -> Source:
    """Relative paths in a definition start at the project root. Raises UserError."""
    match source:
        case Tarball(path, url):
            if bool(path) == bool(url):
                msg = f"{where}: a tarball needs exactly one of path and url"
                raise UserError(msg)
            return source if url else Tarball(anchored(path))
        case Directory(path):
            return Directory(anchored(path))
        case Checkout(path):
            return Checkout(anchored(path))
        case GitRevision(tree, rev) if not is_url(tree):
            return GitRevision(anchored(tree), rev)
    return source
