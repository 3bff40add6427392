"""The tests of test_progs, as the sources have them: names, files, and what a part of them needs. For
test_maps: what it needs.

All of it is 1,000 BPF objects and 450 test files; a test and what it opens build in two minutes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Set
from pathlib import Path

from bpfroots.errors import KernelError
from bpfroots.kernels import selftests

_TESTS, _MAP_TESTS, _PROGS = "prog_tests", "map_tests", "progs"
# As the Makefile looks for them, for prog_tests/tests.h.
_DEFINED = re.compile(r"^void (?:serial_)?test_(\w+)\((?:void)?\)", re.MULTILINE)
_INCLUDED = re.compile(r'^#include [<"](?:.*/)?(\w+)\.(?:skel|lskel|subskel|c)', re.MULTILINE)
_OPENED = re.compile(r'"(?:[^"\n]*/)?(\w+)\.bpf\.o"')
# Names that a macro puts together: "btf__core_reloc_" #name ".bpf.o".
_BEGUN = re.compile(r'"(\w+_)" *#\w')
# In the Makefile: objects that skeletons are linked of, and those of light skeletons. Every test waits for
# these.
_RULES = re.compile(r"^(?:\S+-deps|LSKELS\w*) *:= *(.*)$", re.MULTILINE)
_NAMED = re.compile(r"(\w+)\.(?:bpf\.o|c)\b")


def tests(source: Path) -> dict[str, str]:
    """Every test of the tree ``source``, in the order in which test_progs runs them, and the file in
    prog_tests/ that it is in. Raises KernelError for a tree without."""
    directory = source / selftests.DIRECTORY / _TESTS
    found = {name: path.name for path in directory.glob("*.c") for name in defined(path)}
    if not found:
        msg = f"{source}: no {selftests.DIRECTORY}/{_TESTS} there"
        raise KernelError(msg)
    return {name: found[name] for name in in_order(found)}


def in_order(names: Iterable[str]) -> list[str]:
    """As programs run them: tests.h is sorted as text, with what is around a name."""
    return sorted(names, key="({})".format)


def defined(path: Path) -> list[str]:
    """The tests in a file of prog_tests/ or map_tests/."""
    return _DEFINED.findall(path.read_text(errors="replace"))


def left_out(source: Path, files: Set[str]) -> frozenset[str]:
    """What of the tree ``source`` a test_progs with nothing but the tests in ``files`` does without: paths in
    the tree."""
    directory = source / selftests.DIRECTORY
    kept = {path for path in (directory / _TESTS).glob("*.c") if path.name in files or not defined(path)}
    return _unused(source, kept, kept)


def left_out_of_maps(source: Path) -> frozenset[str]:
    """What of the tree ``source`` test_maps does without: paths in the tree."""
    directory = source / selftests.DIRECTORY
    kept = {path for path in (directory / _TESTS).glob("*.c") if not defined(path)}
    return _unused(source, kept, {*(directory / _MAP_TESTS).glob("*.c"), directory / "test_maps.c"})


def _unused(source: Path, kept: Set[Path], wanting: Set[Path]) -> frozenset[str]:
    """Files in prog_tests/ that are not ``kept``, and programs that ``wanting`` does without."""
    directory = source / selftests.DIRECTORY
    programs = {path.stem: path for path in (directory / _PROGS).glob("*.c")}
    makefile = (directory / "Makefile").read_text(errors="replace").replace("\\\n", " ")
    ruled = {name for words in _RULES.findall(makefile) for name in _NAMED.findall(words)}
    needed = _closure({*ruled, *_wanted(wanting, programs)}, programs)
    unused = [*(path for path in (directory / _TESTS).glob("*.c") if path not in kept)]
    unused += [path for name, path in programs.items() if name not in needed]
    return frozenset(str(path.relative_to(source)) for path in unused)


def _wanted(paths: Iterable[Path], programs: dict[str, Path]) -> Iterator[str]:
    for path in paths:
        text = path.read_text(errors="replace")
        yield from _INCLUDED.findall(text)
        yield from _OPENED.findall(text)
        for start in _BEGUN.findall(text):
            yield from (name for name in programs if name.startswith(start))


def _closure(names: Set[str], programs: dict[str, Path]) -> set[str]:
    """With the programs that these include."""
    found: set[str] = set()
    todo = {name for name in names if name in programs}
    while todo:
        found |= todo
        todo = {
            name for name in _wanted((programs[one] for one in todo), programs) if name in programs
        } - found
    return found
