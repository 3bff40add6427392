"""From a plan to a kernel: prepared tree, checked configuration, make, artefacts.

The build directory of a definition is kept; what it yields is copied into the cache under
a key that names every input. Interrupting or killing a build loses nothing but the
objects that were being written.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import logging
import re
import shlex
import shutil
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from subprocess import PIPE, STDOUT
from typing import NamedTuple

import msgspec

from bpfroots import arch, cache
from bpfroots.errors import InfraError, KernelError
from bpfroots.kernels import kconfig, selftests, series, source, spec, toolchain, tree
from bpfroots.kernels.configure import configure
from bpfroots.kernels.failure import failure
from bpfroots.kernels.spec import Checkout, Definition, Directory, GitRevision, is_url
from bpfroots.process import run, spawn
from bpfroots.progress import Progress, Task
from bpfroots.settings import cache_root

_log = logging.getLogger(__name__)

# Part of the key: raise it when the same inputs give another kernel.
_RECIPE = 2

_OBJECT = re.compile(rb"^  (?:CC|AS) (?:\[M\])? +\S+\.o$")
_DRY_OBJECT = re.compile(rb" -c -o \S+\.o ")
_WARNING = re.compile(r"^(?:\.\./)*(\S+?):\d+:(?:\d+:)? warning: (.*)$")


class Record(msgspec.Struct, frozen=True):
    """kernel.json: what a built kernel was made of."""

    release: str
    source_id: str
    series_id: str
    config_hash: str
    compiler: str
    has_btf: bool


class Warned(NamedTuple):
    """A warning of the compiler: the file it is in, and its text without a place."""

    file: str
    text: str


@dataclass(frozen=True)
class Plan:
    """Every input of a build, found and named; nothing is unpacked or built yet."""

    definition: Definition
    located: source.Located
    patches: series.Series | None
    wishes: dict[str, kconfig.Wish]
    compiler: str

    @property
    def series_id(self) -> str:
        return self.patches.id if self.patches else ""

    @property
    def tree_id(self) -> str:
        return _digest(self.located.id, self.series_id)

    @property
    def key(self) -> str:
        defaults = ["all defaults"] if self.definition.tree_config else []
        return _digest(self.tree_id, kconfig.text(self.wishes), self.compiler, str(_RECIPE), *defaults)[:32]

    @property
    def place(self) -> str:
        """Name of the kept directory. Revisions of one repository share one, so do parts of a series, and all
        states of one that is on top of another kernel."""
        return _place_of(self.definition, self.series_id)

    @property
    def seed(self) -> str:
        """The place whose objects a new one starts from; empty where hardly one could be used again."""
        definition = self.definition
        if definition.below:
            below = definition.name.rpartition("+")[0]
            return _place_of(msgspec.structs.replace(definition, name=below, below="", patches=None), "")
        if definition.base is None:
            return ""
        base = spec.load(definition.base)
        same = selftests.variant(base, definition.tree_config) if definition.tree_config else base
        return _place_of(same, "") if same.config == definition.config else ""


def _place_of(definition: Definition, series_id: str) -> str:
    place = _own_place(definition, series_id)
    return f"{place}-selftests" if definition.tree_config else place


def _own_place(definition: Definition, series_id: str) -> str:
    match definition.source:
        case Directory(path) | Checkout(path) | GitRevision(path):
            series = str(definition.series[-1]) if definition.below else series_id
            where = path if is_url(path) else str(Path(path).resolve())
            return f"{Path(path).name}-{_digest(where, series)[:8]}"
    name = definition.name
    if definition.patches is None:
        return name
    whole = name.rpartition("@")[0]
    return whole if definition.below else f"{whole}@"


def plan(definition: Definition, progress: Progress, *, fetch: bool = True) -> Plan:
    """Find and name the inputs of ``definition``. Raises as source.locate does."""
    root = cache_root()
    if set(" :") & set(str(root)):
        msg = f"{root}: kbuild takes no directory with spaces or colons in its path"
        raise InfraError(msg, hint="set XDG_CACHE_HOME to a plain path")
    return Plan(
        definition=definition,
        located=source.locate(definition, progress, fetch=fetch),
        patches=series.read(definition.series, definition.own, definition.patches)
        if definition.series
        else None,
        wishes=_wishes(definition),
        compiler=toolchain.fingerprint(),
    )


def _wishes(definition: Definition) -> dict[str, kconfig.Wish]:
    if not definition.tree_config:
        return kconfig.read_fragments(definition.config)
    own = kconfig.read_fragments(definition.config)
    trees = kconfig.read_fragments(definition.tree_config, demanded=False)
    return {symbol: wish for symbol, wish in trees.items() if symbol not in own} | own


def built(wanted: Plan, progress: Progress, *, force: bool = False) -> Path:
    """The cache entry of ``wanted``, built where it is not there yet (or ``force``).

    Raises KernelError for a series that does not apply, a symbol that vanished or a
    build that fails.
    """
    store = cache.Cache(cache_root(), "kernel", progress.say)
    if force:
        store.discard(wanted.key)
        with _place(wanted.place, progress) as directory:
            shutil.rmtree(_output(directory), ignore_errors=True)
    return store.get(wanted.key, lambda entry: _build(wanted, entry, progress))


def is_built(definition: Definition, progress: Progress) -> bool:
    """Whether the cache holds the kernel of ``definition``, whole. Fetches nothing; raises as `plan` does."""
    try:
        wanted = plan(definition, progress, fetch=False)
    except source.NotFetched:
        return False
    return cache.Cache(cache_root(), "kernel").peek(wanted.key) is not None


def discard(key: str) -> None:
    """Forget a built kernel; objects stay."""
    cache.Cache(cache_root(), "kernel").discard(key)


def warnings(wanted: Plan, files: Sequence[str], progress: Progress) -> list[Warned]:
    """What the compiler says of those C ``files`` with W=1 that are part of this kernel, once each.

    Objects stay as they are. Raises KernelError for a file that does not compile.
    """
    with _place(wanted.place, progress) as directory:
        linux = _prepare_tree(wanted, directory, progress)
        output = _output(directory)
        output.mkdir(exist_ok=True)
        configure(wanted.definition, wanted.wishes, linux, output, progress.say)
        # make FILE.s (scripts/Makefile.build) compiles with all the flags and leaves FILE.o alone. An object
        # may be of another plan that has used this place, and its source not be there any more.
        targets = [
            f"{name[:-2]}.s"
            for name in files
            if (linux / name).exists() and (output / f"{name[:-2]}.o").exists()
        ]
        for target in targets:
            (output / target).unlink(missing_ok=True)
        answer = run(toolchain.make(linux, output, "W=1", *targets), env=toolchain.environment())
        text = (answer.stdout + answer.stderr).decode(errors="replace")
        if answer.returncode != 0:
            failed = failure(f"{wanted.definition.name} does not compile with W=1", text, output)
            raise failed
    found = [Warned(match[1], match[2]) for match in map(_WARNING.match, text.splitlines()) if match]
    return list(dict.fromkeys(found))


def source_tree(wanted: Plan, progress: Progress) -> Path:
    """The patched tree of ``wanted``, prepared again where another plan has used its place."""
    path = cache_root() / "build" / wanted.place
    if _stamp(path) != wanted.tree_id:
        with _place(wanted.place, progress) as directory:
            _prepare_tree(wanted, directory, progress)
    return path / "linux"


def _build(wanted: Plan, entry: Path, progress: Progress) -> None:
    with _place(wanted.place, progress) as directory:
        linux = _prepare_tree(wanted, directory, progress)
        output = _output(directory)
        output.mkdir(exist_ok=True)
        unfinished = directory / "unfinished"
        if unfinished.exists():
            tree.drop_unfinished(output)
        unfinished.touch()
        artefacts = directory / "artefacts"
        shutil.rmtree(artefacts, ignore_errors=True)
        artefacts.mkdir()
        _run_make(wanted, linux, output, artefacts, progress)
        unfinished.unlink()
        _collect(wanted, output, artefacts, entry)


def _place(name: str, progress: Progress) -> AbstractContextManager[Path]:
    return cache.Cache(cache_root(), "build", progress.say).lock(name)


def _output(directory: Path) -> Path:
    return directory / "linux" / tree.OUTPUT


def _stamp(directory: Path) -> str:
    try:
        return (directory / "tree-id").read_text()
    except FileNotFoundError:
        return ""


def _prepare_tree(wanted: Plan, directory: Path, progress: Progress) -> Path:
    linux = directory / "linux"
    # An editor that writes a file in place changes it here as well: a link of a user's tree proves nothing.
    if _stamp(directory) == wanted.tree_id and wanted.located.directory is None:
        return linux
    origin = source.unpacked(wanted.located, progress)
    work = directory / "series"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    touched: set[str] = set()
    if wanted.patches is not None:

        def say(fuzz: series.Fuzz) -> None:
            progress.say(str(fuzz))

        touched = series.apply(wanted.patches, origin, work, wanted.located.what, say)
    (directory / "tree-id").unlink(missing_ok=True)
    if not linux.exists() and (base := wanted.seed):
        with _place(base, progress) as place:
            tree.seed(linux, place / "linux", progress)
    kept = (linux / tree.OUTPUT).exists()
    # Of a tree that is not in the page cache, its first reading takes most of a minute.
    theirs = wanted.located.directory is not None and not kept
    try:
        with progress.task(f"source  {wanted.located.what}") if theirs else contextlib.nullcontext():
            overlay = tree.Overlay(work / "tree", touched)
            changed = tree.synchronise(linux, origin, overlay, wanted.located.files())
    except OSError as error:
        raise _os_error(error, linux) from None
    if kept and changed:
        progress.say(f"{wanted.definition.name}  {changed} source file{'s' if changed > 1 else ''} changed")
    (directory / "tree-id").write_text(wanted.tree_id)
    return linux


def _run_make(wanted: Plan, linux: Path, output: Path, artefacts: Path, progress: Progress) -> None:
    name = wanted.definition.name
    with progress.task(f"kernel  {name}  {wanted.located.what}", "objects") as task:
        configure(wanted.definition, wanted.wishes, linux, output, progress.say)
        # After an edit make knows better than a dry run of 7 s what is left to do.
        total = None if (output / "vmlinux").exists() else _count_objects(linux, output)
        log = artefacts / "output.log"
        done = _watch(toolchain.make(linux, output, arch.GUEST.image_target), log, total, task)
        if done is None:
            failed = failure(f"kernel {name} does not build", log.read_text(errors="replace"), log)
            raise failed
        task.summary = f"{done} objects"


def _watch(command: list[str | Path], log: Path, total: int | None, task: Task) -> int | None:
    """Run make, all it says into ``log``; how many objects it made, None when it failed."""
    done = 0
    if total is not None:
        task.update(0, total)
    environment = toolchain.environment()
    _log.info("%s, log: %s", shlex.join(map(str, command)), log)
    with (
        log.open("wb", buffering=0) as file,
        spawn(command, env=environment, stdout=PIPE, stderr=STDOUT) as child,
    ):
        for line in child.stdout:
            file.write(line)
            if _OBJECT.match(line):
                done += 1
                task.update(min(done, total) if total else done, total)
        return done if child.wait() == 0 else None


def _count_objects(linux: Path, output: Path) -> int | None:
    """How many objects a build will make, from a dry run; None when that cannot tell."""
    answer = run(toolchain.make(linux, output, "-n", "vmlinux"), env=toolchain.environment())
    return len(_DRY_OBJECT.findall(answer.stdout)) or None


def _collect(wanted: Plan, output: Path, artefacts: Path, entry: Path) -> None:
    config = output / ".config"
    for path, name in (
        (output / arch.GUEST.image, "bzImage"),
        (output / "vmlinux", "vmlinux"),
        (output / "System.map", "System.map"),
        (config, "config"),
        (artefacts / "output.log", "build.log"),
    ):
        if not path.exists():
            msg = f"kernel {wanted.definition.name}: the build ended well but made no {name}"
            raise KernelError(msg, detail=f"expected {path}")
        shutil.copyfile(path, entry / name)
    record = Record(
        release=(output / "include/config/kernel.release").read_text().strip(),
        source_id=wanted.located.id,
        series_id=wanted.series_id,
        config_hash=cache.sha256(config),
        compiler=wanted.compiler,
        has_btf=kconfig.parse(config.read_text()).get("DEBUG_INFO_BTF") == "y",
    )
    (entry / "kernel.json").write_bytes(msgspec.json.format(msgspec.json.encode(record)))


def _os_error(error: OSError, path: Path) -> InfraError:
    if error.errno == errno.ENOSPC:
        return cache.out_of_space(path)
    msg = f"{error.filename or path}: {error.strerror}"
    return InfraError(msg)


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()
