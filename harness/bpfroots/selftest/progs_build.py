"""test_progs or test_maps of a kernel tree, with all that it opens: by the tree's own Makefile, in a copy of
the tree.

The Makefile writes beside its sources, so it gets a tree of links. What a compiler cannot build is left out
(BPF_STRICT_BUILD=0, in 7.3), and `Report` says what and why.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from subprocess import PIPE, STDOUT

import msgspec

from bpfroots import cache
from bpfroots.errors import InfraError, KernelError
from bpfroots.images import tree_tools
from bpfroots.images.tools import first_error, tail
from bpfroots.kernels import Kernel, selftests, toolchain, tree
from bpfroots.process import run, spawn
from bpfroots.programs.clang import Clang, find
from bpfroots.progress import Progress, Task
from bpfroots.results.selftests import TEST_MAPS, TEST_PROGS
from bpfroots.selftest import progs_tree
from bpfroots.settings import cache_root, jobs, resource

#: In what is built: everything that is in the guest's directory, and what could not be built.
FILES, REPORT = "files", "report.json"
#: Among the files: what test_progs is started with on a kernel without keys.
NO_KEYS = "nokeys.so"

# Newest first: the tests are written for the compiler of the tree's own CI, LLVM 21 for 7.3.
_CLANGS = ("clang-22", "clang-21", "clang-20", "clang-19")
_PERMISSIVE = "BPF_STRICT_BUILD"
# As the Makefile has them in TRUNNER_EXTRA_FILES and TEST_FILES.
_EXTRAS = ("urandom_read", "liburandom_read.so", "xdp_synproxy", "sign-file", "uprobe_multi", "veristat")
_SCRIPTS = ("ima_setup.sh", "verify_sig_setup.sh")
_BPFTOOL = "tools/sbin/bpftool"
_NOWHERE = "/nonexistent"
_WATCHDOG = "watchdog-timeout"
# What is built depends on these.
_RECIPE = (Path(__file__), Path(progs_tree.__file__))
_STEP = re.compile(r"^  (?:CLNG-BPF|GEN-SKEL|LINK-BPF|TEST-OBJ|EXT-OBJ)\b")
_SKIPPED = re.compile(r"^  SKIP-(BPF|SKEL|TEST) +(\S+)$")
_ERROR = re.compile(r"^(?:\S*/)?(\S+?:\d+):(?:\d+:)? (?:fatal )?error: (.*)$")


class Skipped(msgspec.Struct, frozen=True):
    """A file that could not be built, such as progs/x.c's x.bpf.o, and the compiler's first error."""

    file: str
    reason: str


class Report(msgspec.Struct, frozen=True):
    """``tests`` are those that are not in the program because one of ``skipped`` is, by name, and why.
    ``watchdog``: the program ends a test that takes too long by itself (-w)."""

    clang: str
    skipped: list[Skipped]
    tests: dict[str, str]
    watchdog: bool = True


@dataclass(frozen=True)
class Built:
    """A directory of the cache, and its key. ``files`` are what goes into the guest."""

    key: str
    files: Path
    report: Report


def ensure(
    program: str,
    kernel: Kernel,
    testmods: Path | None,
    files: Set[str],
    progress: Progress,
    place: str,
    other: Sources | None = None,
) -> Built:
    """``program`` of the tree of ``kernel``; test_progs with the tests in ``files`` of prog_tests/, with all
    where that is empty. Modules and autoconf.h are in ``testmods`` (see `modules.build`), where there are
    any. ``place`` is the name of the directory that it is built in. ``other``: not of the kernel's tree, but
    of that.

    Raises KernelError where not even the rest builds, InfraError without a compiler.
    """
    clang, source = compiler(), other.tree if other else kernel.source
    assert source is not None  # noqa: S101  (progs_site.tree_of asked)
    store = cache.Cache(cache_root(), "selftests", progress.say)
    for wanted in (frozenset[str](), frozenset(files)):
        inputs = [kernel.key, clang.version, *([other.digest] if other else []), *sorted(wanted)]
        key = tree_tools.cache_key(program, "\0".join(inputs), *_RECIPE, _no_keys())
        # All of them take half an hour: they are made only where they are asked for.
        if wanted == files or store.peek(key):
            break
    entry = store.get(
        key, lambda out: _build(_Job(program, kernel, testmods, clang, wanted, place, source), out, progress)
    )
    return Built(key, entry / FILES, msgspec.json.decode((entry / REPORT).read_bytes(), type=Report))


def compiler() -> Clang:
    """``$CLANG``, else the newest clang that is there. Raises InfraError."""
    return find(_CLANGS)


@dataclass(frozen=True)
class Sources:
    """A tree that tests are taken from; ``digest`` changes whenever they do."""

    tree: Path
    digest: str


@dataclass(frozen=True)
class _Job:
    program: str
    kernel: Kernel
    testmods: Path | None
    clang: Clang
    files: frozenset[str]
    place: str
    source: Path


def _build(job: _Job, out: Path, progress: Progress) -> None:
    kernel, source = job.kernel, job.source
    makefile = source / selftests.DIRECTORY / "Makefile"
    if _PERMISSIVE not in makefile.read_text():
        progress.say(f"tools     {makefile.parent}: one test that does not compile ends the build")
    places = cache.Cache(cache_root(), "selftests-build", progress.say)
    with places.lock(job.place) as place, progress.task(f"tools     {job.program} {kernel.name}") as task:
        linux = place / "linux"
        tree.synchronise(linux, source, tree.Overlay(place / "removed", _unused(job)))
        output = linux / tree.OUTPUT / "bpf"
        command = _command(job, linux)
        _forget_another(place, output, [job.clang.version, *command])
        log = place / "make.log"
        command += _modules(job, output)
        # First, with optimisation: it makes every skeleton.
        if _make([*command, "OPT_FLAGS=-O2", str(output / _BPFTOOL)], log, None):
            raise _failed(job, log)
        if _make([*command, str(output / job.program)], log, task):
            raise _failed(job, log)
        report = _report(log.read_text(errors="replace"), linux / selftests.DIRECTORY, job.clang)
        task.summary = f"{len(report.tests)} tests not built" if report.tests else ""
        _collect(job, output, linux / selftests.DIRECTORY, out / FILES)
        shutil.copyfile(log, out / "build.log")
        (out / REPORT).write_bytes(msgspec.json.format(msgspec.json.encode(report)))


def _unused(job: _Job) -> frozenset[str]:
    """What of its tree is left out."""
    source = job.source
    if job.program == TEST_MAPS:
        return progs_tree.left_out_of_maps(source)
    return progs_tree.left_out(source, job.files) if job.files else frozenset()


def _command(job: _Job, linux: Path) -> list[str]:
    assert job.kernel.image.vmlinux is not None  # noqa: S101
    ccache = "ccache " if shutil.which("ccache") and not os.environ.get("CCACHE_DISABLE") else ""
    return [
        *("make", f"-j{jobs()}", "-Otarget", "-C", str(linux / selftests.DIRECTORY)),
        f"OUTPUT={linux / tree.OUTPUT / 'bpf'}",
        f"CC={ccache}gcc",
        f"CLANG={ccache}{job.clang.path}",
        f"VMLINUX_BTF={job.kernel.image.vmlinux}",
        f"GENDIR={job.testmods or _NOWHERE}",
        # Modules are built already.
        f"KDIR={_NOWHERE}",
        f"{_PERMISSIVE}=0",
        # 6.12 knows nothing of SKIP_LLVM: its feature test has to have failed.
        *("SKIP_DOCS=1", "SKIP_LLVM=1", "feature-llvm=0", "LLD=bfd"),
    ]


def _forget_another(place: Path, output: Path, how: Sequence[str]) -> None:
    """Objects stay where they were made the same way; make only looks at times."""
    stamp, text = place / "command", "\n".join(how)
    if not stamp.is_file() or stamp.read_text() != text:
        shutil.rmtree(output, ignore_errors=True)
    output.mkdir(parents=True, exist_ok=True)
    # What they depend on is written with paths that hold in the source directory only. ccache has the
    # objects.
    for path in output.glob("*.test.[do]"):
        path.unlink()
    stamp.write_text(text)


def _modules(job: _Job, output: Path) -> list[str]:
    """Puts the modules where the Makefile would make them; options that keep it from doing so."""
    options = []
    for module in sorted(job.testmods.glob("*.ko")) if job.testmods else ():
        shutil.copy(module, output / module.name)
        options += ["-o", str(output / module.name)]
    return options


def _make(command: list[str], log: Path, task: Task | None) -> int:
    done = 0
    with (
        log.open("wb") as file,
        spawn(command, env=_environment(), stdout=PIPE, stderr=STDOUT) as child,
    ):
        for line in child.stdout:
            file.write(line)
            if task and _STEP.match(line.decode(errors="replace")):
                done += 1
                task.update(done, None)
        return child.wait()


def _environment() -> Mapping[str, str]:
    return {**toolchain.environment(), "CCACHE_BASEDIR": str(cache_root())}


def _failed(job: _Job, log: Path) -> KernelError:
    msg = f"{job.program} of {job.kernel.name} does not build: {first_error(log)}"
    return KernelError(msg, detail=tail(log))


def _report(log: str, tests: Path, clang: Clang) -> Report:
    """What a permissive build left out. A test goes with the skeleton that it includes."""
    skipped = skipped_in(log)
    files = {name.removesuffix(".test.o") for name in skipped if name.endswith(".test.o")}
    lost = {
        name: skipped[f"{file}.test.o"]
        for file in sorted(files)
        for name in progs_tree.defined(tests / "prog_tests" / f"{file}.c")
    }
    watchdog = _WATCHDOG in (tests / "test_progs.c").read_text(errors="replace")
    left_out = [Skipped(file, why) for file, why in sorted(skipped.items())]
    return Report(clang.version, left_out, lost, watchdog)


def skipped_in(log: str) -> dict[str, str]:
    """What the log of a permissive build says it left out, and the first error before each."""
    found: dict[str, str] = {}
    errors: list[str] = []
    for line in log.splitlines():
        if match := _SKIPPED.match(line):
            found.setdefault(match[2], errors[0] if errors else "something it is made of is missing")
            errors = []
        elif _STEP.match(line):
            errors = []
        elif match := _ERROR.match(line):
            errors.append(f"{match[1]}: {match[2]}")
    return found


def _collect(job: _Job, output: Path, tests: Path, to: Path) -> None:
    """What the program and its tests open, without debug information: 9 of 10 bytes."""
    testmods = job.testmods
    to.mkdir()
    for name in (job.program, *(_EXTRAS if job.program == TEST_PROGS else ())):
        if (output / name).is_file():
            _strip("strip", output / name, to / name)
    if job.program == TEST_PROGS:
        _compile_no_keys(to / NO_KEYS)
    (to / _BPFTOOL).parent.mkdir(parents=True)
    _strip("strip", (output / _BPFTOOL).resolve(), to / _BPFTOOL)
    # Objects of tests that were built here before are there as well.
    programs = {path.stem for path in tests.glob("progs/*.c")}
    for path in sorted(path for path in output.glob("*.bpf.o") if path.name.partition(".")[0] in programs):
        _strip("llvm-strip-19", path, to / path.name)
    (to / "bpftool").symlink_to(_BPFTOOL)
    for path in [*(tests / name for name in _SCRIPTS), *tests.glob("progs/btf_dump_test_case_*.c")]:
        if path.is_file():
            shutil.copy(path, to / path.name)
    for path in [*output.glob("*.BTF"), *(testmods.glob("*.ko") if testmods else ())]:
        shutil.copy(path, to / path.name)


def _no_keys() -> Path:
    return resource("images/selftests/nokeys.c")


def _compile_no_keys(to: Path) -> None:
    done = run(["gcc", "-O2", "-shared", "-fPIC", "-o", to, _no_keys()])
    if done.returncode:
        msg = f"gcc {_no_keys()}: {done.stderr.decode(errors='replace').strip()}"
        raise InfraError(msg)


def _strip(tool: str, built: Path, to: Path) -> None:
    done = run([tool, "-g", "-o", to, built])
    if done.returncode:
        msg = f"{tool} {built}: {done.stderr.decode(errors='replace').strip()}"
        raise InfraError(msg)
