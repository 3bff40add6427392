"""What ``--kernel`` may name: a definition, some patches of its series (``patched@5``), a definition and one
fragment more (``patched+debug``), a source tree, a build directory, a bzImage, TREE@REV."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from harness.errors import UserError
from harness.kernels import image, spec
from harness.kernels.source import is_source_tree

# Somebody's own tree is configured as this definition is, and its guests have its shape.
_MODEL = "baseline"


@dataclass(frozen=True)
class Prebuilt:
    """A kernel somebody else has built; ``directory`` is the build directory if there is one."""

    name: str
    bzimage: Path
    directory: Path | None


Request = spec.Definition | Prebuilt


def resolve(argument: str) -> Request:
    """What ``argument`` of ``--kernel`` means. Raises UserError, which says what would do.

    A definition's name wins over a file of that name (write ``./NAME`` for the file).
    """
    if argument in spec.names():
        return spec.load(argument)
    path = Path(argument).expanduser()
    if path.exists():
        return _path(path.resolve(), argument)
    tree, at, revision = argument.rpartition("@")
    if tree in spec.names() and revision.isdecimal():
        return spec.prefix(tree, int(revision))
    name, plus, fragment = argument.rpartition("+")
    if plus and name in spec.names():
        return spec.extended(name, fragment)
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


def _path(path: Path, argument: str) -> Request:
    if path.is_file():
        if image.is_bzimage(path):
            return Prebuilt(_safe(path.name), path, None)
        msg = f"--kernel {argument}: not a bzImage (no HdrS at 0x202)"
        hint = "give arch/x86/boot/bzImage, which the boot protocol can load; vmlinux cannot be booted by it"
        raise UserError(msg, hint=hint)
    bzimage = path / "arch/x86/boot/bzImage"
    if bzimage.is_file() and (path / ".config").is_file():
        if not image.is_bzimage(bzimage):
            msg = f"--kernel {argument}: {bzimage} is no bzImage: a build that was broken off?"
            raise UserError(msg, hint=f"make -C {path} bzImage")
        return Prebuilt(_safe(path.name), bzimage, path)
    if is_source_tree(path):
        return _adhoc(path.name, spec.Directory(str(path)))
    if (path / ".config").is_file():
        msg = f"--kernel {argument}: a build directory without arch/x86/boot/bzImage"
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
        name=_safe(name), source=source, config=model.config, cmdline=model.cmdline, machine=model.machine
    )


def _safe(name: str) -> str:
    """A name that is one folder of a run, and no definition's."""
    name = re.sub(r"[^A-Za-z0-9._@+-]+", "-", name).strip("-.") or "kernel"
    return f"{name}-local" if name in spec.names() else name
