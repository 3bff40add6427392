"""`pytest --kernel=K`: every cell of testcases/ is a test item; the run's engine does the work.

A file testcases/cases/FAMILY.toml is collected as its cells, testcases/matrix.toml as those of `gen`.
Selected items (-k, --lf) become one run, kernel after kernel; an item waits for its own cell, so -x stops
the feed.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import AbstractContextManager, ExitStack, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from bpfroots.errors import BpfrootsError
from bpfroots.escape import visible

if TYPE_CHECKING:
    from bpfroots.ab.model import Findings
    from bpfroots.jobs.run import Run
    from bpfroots.jobs.spec import CellSpec
    from bpfroots.results.key import Key
    from bpfroots.results.model import Cell

_HINT = "needs a kernel: pytest --kernel=baseline"


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("bpfroots", "BPF cases in guests")
    group.addoption(
        "--kernel",
        action="append",
        default=[],
        metavar="K",
        help="kernel to run the cases on: a name in kernels/, a tree, a build directory, a bzImage, "
        "TREE@REV, debian:PACKAGE",
    )
    group.addoption(
        "--cost", action="store_true", help="measure instructions per run of what is accepted, at the end"
    )
    group.addoption(
        "--reuse", action="store_true", help="take cells from earlier runs where nothing has changed since"
    )
    group.addoption(
        "--equal",
        action="append",
        default=[],
        choices=["duplicate", "tail_call", "multi_root", "fd_name"],
        metavar="MECHANISM",
        help="with two kernels: fail if a program is not the same on both under this mechanism, in verdict, "
        "work, code, log or result; may be repeated",
    )
    group.addoption(
        "--alone",
        action="store_true",
        help="fail if a root of a group (multi_root) is translated otherwise than alone (duplicate), but for "
        "what other roots need",
    )
    group.addoption(
        "--accel", default="auto", choices=["auto", "kvm", "tcg"], help="accelerator of the guests"
    )


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> Generator[None, Any, Any]:
    """Guests are spread by the engine: xdist's processes would each run every cell."""
    if config.getoption("--kernel") and getattr(config.option, "numprocesses", None):
        config.option.numprocesses, config.option.dist, config.option.tx = None, "no", []
        config.issue_config_time_warning(
            pytest.PytestWarning("-n is not used with --kernel: guests are spread by bpfroots itself"), 2
        )
    return (yield)


class _Feed:
    """The cells of a session, run as their items ask for them."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._wanted: dict[str, list[CellSpec]] = {}
        self._done: dict[Key, Cell] = {}
        self._streams: dict[str, Iterator[Cell]] = {}
        self._broken: dict[str, BpfrootsError] = {}
        self._run: Run | None = None
        self._open = ExitStack()
        #: Of two kernels: what differs between them, and the page that has it.
        self.comparison: tuple[Findings, Path] | None = None
        #: What ``--equal`` and ``--alone`` do not allow, a line each.
        self.unequal: list[str] = []

    def want(self, kernel: str, spec: CellSpec) -> None:
        self._wanted.setdefault(kernel, []).append(spec)

    def cell(self, kernel: str, spec: CellSpec) -> Cell:
        """The finished cell; runs what comes before it first. Raises BpfrootsError."""
        with self._uncaptured():
            while (key := spec.key.on(kernel)) not in self._done:
                if kernel in self._broken:
                    raise self._broken[kernel]
                self._advance(kernel)
        return self._done[key]

    def _advance(self, kernel: str) -> None:
        try:
            stream = self._streams.get(kernel) or self._start(kernel)
            cell = next(stream)
        except BpfrootsError as error:
            self._broken[kernel] = error
            raise
        self._done[cell.key] = cell

    def _start(self, kernel: str) -> Iterator[Cell]:
        run = self._run = self._run or self._opened()
        built = next(k for k in run.site.kit.kernels if k.name == kernel)
        stream = run.stream(built)
        self._streams[kernel] = stream
        return stream

    def _opened(self) -> Run:
        """The run of all selected items."""
        import logging

        from bpfroots.jobs import run as job
        from bpfroots.progress import Progress
        from bpfroots.results.request import Cases, Request

        option = self._config.getoption
        only = tuple(spec.key.on(kernel) for kernel, specs in self._wanted.items() for spec in specs)
        request = Request(
            tuple(option("--kernel")),
            Cases(only=only),
            "pytest",
            option("--accel"),
            cost=option("--cost"),
            reuse=option("--reuse"),
        )
        # It is in run.log: pytest would show all of it with a cell that is not as expected.
        logging.getLogger("bpfroots").propagate = False
        options = job.RunOptions(["pytest", *self._config.invocation_params.args])
        return self._open.enter_context(job.opened(request, Progress(), options))

    @property
    def path(self) -> Path | None:
        """The run folder, where there is one."""
        return self._run.store.path if self._run else None

    def _uncaptured(self) -> AbstractContextManager[None]:
        manager = self._config.pluginmanager.getplugin("capturemanager")
        return manager.global_and_fixture_disabled() if manager else nullcontext()

    def close(self) -> Path | None:
        """End the guests, measure costs, and write the reports; the run folder, where there is one."""
        for stream in self._streams.values():
            stream.close()  # type: ignore[attr-defined]
        if self._run and self._run.request.cost:
            for kernel in self._run.site.kit.kernels:
                self._run.measure(kernel)
        self._open.close()
        if self._run:
            from bpfroots.ab import inside

            self.comparison = inside.of_cases(self._run)
            if self.comparison:
                found, _ = self.comparison
                self.unequal = inside.unequal(found, self._run.cells, self._config.getoption("--equal"))
            if self._config.getoption("--alone"):
                from bpfroots.analysis import alone

                self.unequal += alone.unlike(self._run.store.path, self._run.cells)
        return self.path


_FEED = pytest.StashKey[_Feed]()
_FOLDER = pytest.StashKey[Path]()
_NAMES = pytest.StashKey[list[str]]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_FEED] = _Feed(config)
    arguments = config.getoption("--kernel")
    if config.getoption("--equal") and len(set(arguments)) != 2:
        msg = "--equal compares two kernels: --kernel A --kernel B"
        raise pytest.UsageError(msg)
    if arguments:
        from bpfroots import kernels

        try:
            requests = kernels.resolve_all(arguments).values()
            config.stash[_NAMES] = list(dict.fromkeys(request.name for request in requests))
        except BpfrootsError as error:
            raise pytest.UsageError(error.render()) from None


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    """A family of cases is a file testcases/cases/FAMILY.toml; testcases/matrix.toml is the generated one."""
    if file_path.suffix != ".toml" or "testcases" not in file_path.parts:
        return None
    if file_path.parent.name == "cases" or file_path.name == "matrix.toml":
        made: pytest.Collector = CaseFile.from_parent(parent, path=file_path)
        return made
    return None


class CaseFile(pytest.File):
    """The cases of a family, under every mechanism on every kernel."""

    def collect(self) -> Iterator[pytest.Item]:
        from bpfroots.jobs.spec import case_cells
        from bpfroots.programs import cases
        from bpfroots.programs.protocol import MECHANISMS

        family = cases.GENERATED if self.path.name == "matrix.toml" else self.path.stem
        kernels = self.config.stash.get(_NAMES, None)
        if not kernels:
            yield NoKernel.from_parent(self, name="no-kernel")
            return
        try:
            chosen = [case for case in cases.all_cases() if case.family == family]
            found = [(case, spec) for case in chosen for spec in case_cells([case], MECHANISMS)]
        except BpfrootsError as error:
            raise pytest.UsageError(error.render()) from None
        for kernel in kernels:
            for case, spec in found:
                name = f"{case.short}-{spec.mechanism}-{kernel}"
                yield CellItem.from_parent(self, name=name, kernel=kernel, spec=spec)


class NoKernel(pytest.Item):
    """In place of the cells, where nothing says what they should run on."""

    def runtest(self) -> None:
        pytest.skip(_HINT)


class CellItem(pytest.Item):
    """One cell: passes, is skipped or fails as its outcome says."""

    def __init__(self, *, kernel: str, spec: CellSpec, **rest: Any) -> None:
        super().__init__(**rest)
        self.kernel = kernel
        self.spec = spec

    def runtest(self) -> None:
        from bpfroots.report.failure import failure

        feed = self.config.stash[_FEED]
        try:
            cell = feed.cell(self.kernel, self.spec)
        except BpfrootsError as error:
            pytest.fail(error.render(), pytrace=False)
        if cell.outcome in {"skip", "unsupported"}:
            pytest.skip(visible(f"{cell.outcome}: {cell.reason}"))
        if cell.outcome == "xfail":
            pytest.xfail(visible(cell.reason))
        if cell.outcome != "pass":
            pytest.fail(failure(cell, feed.path or Path()), pytrace=False)

    def reportinfo(self) -> tuple[Path, None, str]:
        return self.path, None, str(self.spec.key.on(self.kernel))


def pytest_collection_finish(session: pytest.Session) -> None:
    """What -k and --lf left is what runs; kernel after kernel."""
    session.items.sort(key=lambda item: item.kernel if isinstance(item, CellItem) else "")
    for item in session.items:
        if isinstance(item, CellItem):
            session.config.stash[_FEED].want(item.kernel, item.spec)


def pytest_sessionfinish(session: pytest.Session) -> None:
    feed = session.config.stash[_FEED]
    folder = feed.close()
    if folder:
        session.config.stash[_FOLDER] = folder
    if feed.unequal and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if folder := config.stash.get(_FOLDER, None):
        terminalreporter.write_line(f"results  {folder}")
        terminalreporter.write_line(f"report   {folder / 'report' / 'index.html'}")
    if comparison := config.stash[_FEED].comparison:
        from bpfroots.ab import text

        found, page = comparison
        said = f"{found.a.kernel} -> {found.b.kernel}: {text.sentence(found)}"
        terminalreporter.write_line(visible(f"ab       {said}"))
        terminalreporter.write_line(f"         {page}")
    for line in config.stash[_FEED].unequal:
        terminalreporter.write_line(visible(f"unequal  {line}"))
