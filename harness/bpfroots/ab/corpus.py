"""Corpora: programs that are compared again and again, each in a small TOML file. docs/ab.md has the keys."""

from __future__ import annotations

import difflib
import os
import re
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

import msgspec

from bpfroots import process, tomlfile
from bpfroots.errors import UserError
from bpfroots.jobs.objects import absolute
from bpfroots.progress import Progress
from bpfroots.results.request import TIMEOUT_S, Cases, Objects, Together
from bpfroots.settings import jobs, resource, resources, shown

_FOLDER = "corpora"
_LINES = 5
# What a source may begin with: the trees of the two kernels, the second of which is under test.
_TREES = ("{base}", "{linux}")
#: The tree of the first or the second kernel, 0 or 1.
Tree = Callable[[int], Path]
_VARIABLE = re.compile(r"\$(\w+)|\$\{(\w+)\}")


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    source: str = ""
    build: tuple[str, ...] = ()
    objects: tuple[str, ...] = ("**/*.bpf.o",)
    exclude: tuple[str, ...] = ()
    include: tuple[str, ...] = ()
    globals: dict[str, str | int | bool] = {}
    as_is: bool = False
    timeout_s: float = TIMEOUT_S
    cases: str | None = None


def names() -> list[str]:
    """The corpora in ``corpora/``, sorted."""
    return [path.stem for path in resources(_FOLDER, "*.toml")]


def is_corpus(argument: str) -> bool:
    """A TOML file, or the name of a corpus that no file or directory has."""
    path = Path(argument)
    return path.suffix == ".toml" or (not path.exists() and argument in names())


def together(programs: Iterable[str], how: Objects, tree: Tree, progress: Progress) -> Together:
    """Corpora, and objects and directories as one more: loaded as ``how`` says, which has no paths yet.

    Raises UserError for what does not exist, and as `read`.
    """
    programs = list(dict.fromkeys(programs))
    if not programs:
        msg = "which programs?"
        hint = f"a .bpf.o, a .bpf.c, a directory with such files, or a corpus: {', '.join(names())}"
        raise UserError(msg, hint=hint)
    given = [one for one in programs if not is_corpus(one)]
    for one in given:
        if not Path(one).exists():
            raise unknown(one)
    paths = tuple(str(absolute(Path(one))) for one in given)
    parts: list[Cases | Objects] = [msgspec.structs.replace(how, paths=paths)] if given else []
    parts += [read(one, tree, progress) for one in programs if one not in given]
    return Together(tuple(parts))


def unknown(argument: str) -> UserError:
    """The error for a program that does not exist, with the nearest corpus."""
    near = difflib.get_close_matches(argument, names(), 1) or names()
    msg = f"{argument}: no such program, directory or corpus"
    return UserError(msg, hint=f"an object, a directory, or a corpus: {', '.join(near)}")


def read(argument: str, tree: Tree, progress: Progress) -> Objects | Cases:
    """What a corpus consists of, built where it says how. ``tree`` gives those of the kernels.

    Raises UserError for a file that makes no sense, a source that is not there, a build that fails, and where
    no object is left.
    """
    path = Path(argument) if argument.endswith(".toml") else resource(f"{_FOLDER}/{argument}.toml")
    given, where = _read(path), shown(path)
    if given.cases is not None:
        return Cases(given.cases)
    source = _place(given.source, path, where, tree)
    if given.build:
        _build(path.stem, source, given.build, progress)
    found = _objects(source, given)
    if not found:
        msg = f"{where}: no object in {source} is one of {', '.join(given.objects)}"
        raise UserError(msg, hint="build = [...] says how they are made")
    return Objects(
        tuple(str(absolute(one)) for one in found),
        globals={name: _value(value) for name, value in given.globals.items()},
        fixups=not given.as_is,
        timeout_s=given.timeout_s,
        any_verdict=True,
        name=path.stem,
        include=tuple(str(source / directory) for directory in given.include),
    )


def _read(path: Path) -> _File:
    where = shown(path)
    given = tomlfile.read(path, _File, where, hint=f"known keys: {', '.join(_File.__struct_fields__)}")
    if bool(given.source) == (given.cases is not None):
        msg = f"{where}: needs exactly one of source and cases"
        raise UserError(msg, hint='source = "~/src/bcc/libbpf-tools"')
    return given


def _place(text: str, path: Path, where: str, tree: Tree) -> Path:
    """The directory that ``source`` names; a relative one starts at the file."""
    for match in _VARIABLE.finditer(text):
        name = match[1] or match[2]
        if not os.environ.get(name):
            msg = f"{where}: source = {text!r}: {name} is not set"
            raise UserError(msg, hint=f"export {name}=DIRECTORY")
    for number, name in enumerate(_TREES):
        if text.startswith(name):
            text = f"{tree(number)}{text.removeprefix(name)}"
    place = path.parent / Path(os.path.expandvars(text)).expanduser()
    if not place.is_dir():
        msg = f"{where}: source: no directory {place}"
        raise UserError(msg, hint="source = DIRECTORY, where the objects are built")
    return place


def _build(name: str, source: Path, command: Iterable[str], progress: Progress) -> None:
    words = [word.replace("{jobs}", str(jobs())) for word in command]
    if not (source / words[0]).is_file() and shutil.which(words[0]) is None:
        msg = f"corpus {name}: {words[0]}: no such command"
        raise UserError(msg, hint="install what the project is built with")
    with progress.task(f"corpus    {name}: {' '.join(words)}"):
        done = process.run(words, cwd=source)
    if done.returncode:
        said = (done.stderr or done.stdout).decode(errors="replace").strip().splitlines()[-_LINES:]
        msg = f"corpus {name}: {' '.join(words)} fails in {source}"
        raise UserError(msg, detail="\n".join(said), hint="objects that are there already need no build")


def _objects(source: Path, given: _File) -> list[Path]:
    left_out = {path for pattern in given.exclude for path in source.glob(pattern)}
    found = {path for pattern in given.objects for path in source.glob(pattern) if path.is_file()}
    return sorted(found - left_out)


def _value(value: str | int | bool) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
