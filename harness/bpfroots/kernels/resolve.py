"""What ``--kernel`` may name: a definition, some patches of its series (``patched@5``), a definition and one
fragment more (``patched+debug``), a source tree, a build directory, a bzImage, TREE@REV, a package
(``debian:linux-image-cloud-amd64``); and any of those that are built, with a series on top
(``baseline+./fix.mbox``) or with its first patches (``baseline+./fix.mbox@2``)."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from bpfroots import arch
from bpfroots.errors import UserError
from bpfroots.kernels import image, packaged, spec
from bpfroots.kernels.source import is_source_tree

# The user's own tree is configured as this definition is, and its guests have its shape.
_MODEL = "baseline"
#: Kernel, series, number of patches. A series is named by a path that begins like one: what else follows a
#: "+" is a fragment.
ON_TOP = re.compile(r"(.+?)\+((?:/|\.{1,2}/|~).*?)(?:@(\d+))?")


@dataclass(frozen=True)
class Prebuilt:
    """A kernel that we did not build; ``directory`` is the build directory if there is one."""

    name: str
    bzimage: Path
    directory: Path | None

    @property
    def argument(self) -> str:
        """What ``--kernel`` takes for it, wherever bpfroots is started."""
        return str(self.directory or self.bzimage)


Request = spec.Definition | Prebuilt | packaged.Package


def resolve_all(arguments: Iterable[str]) -> dict[str, Request]:
    """What each of the ``arguments`` of one command means, under a name that no other kernel of it has.

    Arguments that mean the same kernel give equal requests. Names that are the same get those parts of the
    paths in which these differ: a/linux and b/linux are a-linux and b-linux. A definition keeps its name.
    The same arguments give the same names. Raises as `resolve`.
    """
    found = {argument: resolve(argument) for argument in arguments}
    names = _names(dict.fromkeys(found.values()))
    return {argument: _named(request, names[request]) for argument, request in found.items()}


def resolve(argument: str) -> Request:
    """What ``argument`` of ``--kernel`` means. Raises UserError, which says what would do.

    A definition's name wins over a file of that name (write ``./NAME`` for the file).
    """
    if argument in spec.names():
        return spec.load(argument)
    if argument.startswith(packaged.PREFIX):
        return packaged.parse(argument)
    path = Path(argument).expanduser()
    if path.exists():
        return _path(path.resolve(), argument)
    if match := ON_TOP.fullmatch(argument):
        return _on_top(argument, *match.groups())
    tree, at, revision = argument.rpartition("@")
    if tree in spec.names() and revision.isdecimal():
        return spec.prefix(tree, int(revision))
    name, plus, fragment = argument.rpartition("+")
    if plus and name in spec.names():
        return spec.extended(name, fragment)
    if spec.is_url(argument):
        return _url(argument)
    if at and Path(tree).expanduser().is_dir():
        if not revision:
            msg = f"--kernel {argument}: no revision after @"
            raise UserError(msg, hint=f"--kernel {tree}@v6.12, a commit, a branch")
        where = Path(tree).expanduser().resolve()
        return _adhoc(f"{where.name}@{revision}", spec.GitRevision(str(where), revision))
    if at and tree:
        msg = f"--kernel {argument}: no directory {tree}"
        raise UserError(msg, hint="TREE@REV: TREE is a git tree of the kernel")
    raise spec.unknown(argument)


def _url(argument: str) -> Request:
    """A tarball, or a revision of a repository: URL@REV. (URL may have a user@ of its own.)"""
    tree, at, revision = argument.rpartition("@")
    if at and spec.is_url(tree):
        name = tree.rstrip("/").rpartition("/")[2].removesuffix(".git")
        return _adhoc(f"{name}@{revision}", spec.GitRevision(tree, revision))
    name, dot, _ = argument.rpartition("/")[2].partition(".tar")
    if not dot:
        msg = f"--kernel {argument}: neither a tarball nor URL@REV"
        raise UserError(msg, hint="https://HOST/linux-6.6.tar.xz, https://HOST/linux.git@v6.6")
    return _adhoc(name, spec.Tarball(url=argument))


def _on_top(argument: str, kernel: str, series: str, patches: str | None) -> spec.Definition:
    """``kernel`` with a series on top, or with its first ``patches`` patches. Whether it applies is seen
    where it is built."""
    below = resolve(kernel)
    path = Path(series).expanduser()
    if not isinstance(below, spec.Definition):
        msg = f"--kernel {argument}: a kernel that is built already takes no series"
        raise UserError(msg, hint="a source tree, a name in kernels/, TREE@REV")
    if below.patches is not None:
        msg = f"--kernel {argument}: a series on top of some patches of another one"
        raise UserError(msg, hint=f"{kernel.rpartition('@')[0]}+{series}")
    if not path.exists():
        msg = f"--kernel {argument}: no series {series}"
        raise UserError(msg, hint="a directory of patches, a mailbox, or one patch")
    path = path.resolve()
    # The part after the last "+" is the series, wherever the name is taken apart.
    name = f"{below.name}+{_safe(path.stem if path.is_file() else path.name).replace('+', '-')}"
    return msgspec.structs.replace(
        below,
        name=name if patches is None else f"{name}@{patches}",
        series=(*below.series, path),
        own=1,
        patches=None if patches is None else int(patches),
        origin=None,
        below=below.argument,
    )


def _names(requests: Iterable[Request]) -> dict[Request, str]:
    """A name for each of ``requests``, which are all different."""
    found: dict[Request, str] = {}
    paths: dict[str, dict[Request, Path]] = {}
    for request in requests:
        if (path := _path_of(request)) is None:
            found[request] = request.name
        else:
            paths.setdefault(request.name, {})[request] = path
    for name, group in paths.items():
        for request, part in zip(group, _telling(list(group.values())), strict=True):
            longer = name if len(group) == 1 else _safe(part + _revision(request))
            found[request] = _free(longer, found.values())
    return found


def _path_of(request: Request) -> Path | None:
    """What the kernel is named for; None for a definition, whose name is given."""
    if isinstance(request, Prebuilt):
        return request.directory or request.bzimage
    if isinstance(request, packaged.Package):
        return None
    match request.source:
        case spec.Directory(path) | spec.GitRevision(path) | spec.Tarball(path) if request.origin is None:
            return Path(request.argument if spec.is_url(request.argument) else path)
    return None


def _revision(request: Request) -> str:
    match request:
        case spec.Definition(source=spec.GitRevision(_, rev)):
            return f"@{rev}"
    return ""


def _telling(paths: Sequence[Path]) -> list[str]:
    """The last part of each path, and before it those above in which the paths differ, as few as will do."""
    rows = [path.parts[:0:-1] for path in paths]
    deepest = max(map(len, rows))
    depth = next((n for n in range(1, deepest) if len({row[:n] for row in rows}) == len(rows)), deepest)
    differing = [n for n in range(1, depth) if len({row[n : n + 1] for row in rows}) > 1]
    return ["-".join(row[n] for n in (*reversed(differing), 0) if n < len(row)) for row in rows]


def _free(name: str, taken: Iterable[str]) -> str:
    """``name``, with a number where paths do not tell kernels apart: revisions x/y and x-y of one tree."""
    numbered = itertools.chain([name], (f"{name}-{number}" for number in itertools.count(2)))
    return next(free for free in numbered if free not in taken)


def _named(request: Request, name: str) -> Request:
    if isinstance(request, Prebuilt | packaged.Package):
        return replace(request, name=name)
    return msgspec.structs.replace(request, name=name)


def _path(path: Path, argument: str) -> Request:
    if path.is_file():
        if image.is_bzimage(path):
            return Prebuilt(_safe(path.name), path, None)
        name, dot, _ = path.name.partition(".tar")
        if dot:
            return _adhoc(name, spec.Tarball(str(path)))
        msg = f"--kernel {argument}: not a bzImage (no HdrS at 0x202)"
        hint = f"give {arch.GUEST.image}, which the boot protocol can load; vmlinux cannot be booted by it"
        raise UserError(msg, hint=hint)
    bzimage = path / arch.GUEST.image
    if bzimage.is_file() and (path / ".config").is_file():
        if not image.is_bzimage(bzimage):
            msg = f"--kernel {argument}: {bzimage} is not a bzImage: was its build interrupted?"
            raise UserError(msg, hint=f"make -C {path} bzImage")
        return Prebuilt(_safe(path.name), bzimage, path)
    if is_source_tree(path):
        config = path / ".config"
        found = _adhoc(path.name, spec.Directory(str(path)))
        return msgspec.structs.replace(found, config=(config,)) if config.is_file() else found
    if (path / ".config").is_file():
        msg = f"--kernel {argument}: a build directory without {arch.GUEST.image}"
        raise UserError(msg, hint=f"make -C {path} bzImage")
    msg = f"--kernel {argument}: neither a source tree nor a build directory"
    raise UserError(
        msg,
        detail="a source tree has Makefile, Kconfig and Kbuild; a build directory .config and bzImage",
        hint=f"a definition: {', '.join(spec.names()) or 'none yet'}",
    )


def _adhoc(name: str, source: spec.Source) -> spec.Definition:
    model = spec.load(_MODEL)
    return spec.Definition(
        name=_safe(name), source=source, config=model.config, cmdline=model.cmdline, shape=model.shape
    )


def _safe(name: str) -> str:
    """A name that is one folder of a run, and no definition's."""
    name = re.sub(r"[^A-Za-z0-9._@+-]+", "-", name).strip("-.") or "kernel"
    return f"{name}-local" if name in spec.names() else name
