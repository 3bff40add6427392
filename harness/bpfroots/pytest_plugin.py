"""`pytest --kernel=K`: every cell of testcases/ is a test item; the run's engine does the work.

A test function that takes ``cell`` is parametrised with the cells of its family:
``test_FAMILY`` runs testcases/cases/FAMILY.toml. Selected items (-k, --lf) become one run per kernel, in
order; an item waits for its own cell, so -x stops the feed.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from bpfroots.errors import BpfrootsError
from bpfroots.escape import visible

if TYPE_CHECKING:
    from bpfroots.jobs.spec import CellSpec
    from bpfroots.results.model import Cell
    from bpfroots.results.store import RunStore

_HINT = "needs a kernel: pytest --kernel=baseline"


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("bpfroots", "BPF cases in guests")
    group.addoption(
        "--kernel",
        action="append",
        default=[],
        metavar="K",
        help="kernel to run the cases on: a name in kernels/, a tree, a build directory, a bzImage, TREE@REV",
    )
    group.addoption(
        "--storm-seconds",
        type=int,
        default=0,
        metavar="N",
        help="how long testcases/test_storm.py lasts; not at all without it",
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
        self._done: dict[tuple[str, str], Cell] = {}
        self._streams: dict[str, Iterator[Cell]] = {}
        self._broken: dict[str, BpfrootsError] = {}
        self._engine: Any = None
        self._kit: Any = None
        self.store: RunStore | None = None

    def want(self, kernel: str, spec: CellSpec) -> None:
        self._wanted.setdefault(kernel, []).append(spec)

    def cell(self, kernel: str, spec: CellSpec) -> Cell:
        """The finished cell; runs what comes before it first. Raises BpfrootsError."""
        with self._uncaptured():
            while (kernel, spec.id) not in self._done:
                if kernel in self._broken:
                    raise self._broken[kernel]
                self._advance(kernel)
        return self._done[kernel, spec.id]

    def _advance(self, kernel: str) -> None:
        from bpfroots.jobs.spec import cell_id

        try:
            stream = self._streams.get(kernel) or self._start(kernel)
            cell = next(stream)
        except BpfrootsError as error:
            self._broken[kernel] = error
            raise
        self._done[kernel, cell_id(cell.case, cell.mechanism)] = cell

    def _start(self, kernel: str) -> Iterator[Cell]:
        from bpfroots.jobs.engine import Engine
        from bpfroots.jobs.kit import prepare
        from bpfroots.jobs.run import open_store
        from bpfroots.machine import choose_accel
        from bpfroots.progress import Progress

        if self._engine is None:
            accel = choose_accel(self._config.getoption("--accel"))
            self._kit = prepare(self._config.getoption("--kernel"), Progress())
            self.store = open_store(
                self._kit, accel, "pytest", ["pytest", *self._config.invocation_params.args]
            )
            self._engine = Engine(self._kit, self.store, accel)
        built = next(k for k in self._kit.kernels if k.name == kernel)
        stream: Iterator[Cell] = self._engine.submit(built, self._wanted[kernel])
        self._streams[kernel] = stream
        return stream

    def _uncaptured(self) -> AbstractContextManager[None]:
        manager = self._config.pluginmanager.getplugin("capturemanager")
        return manager.global_and_fixture_disabled() if manager else nullcontext()

    def close(self) -> Path | None:
        """End the guests and write the reports; the run folder, where there is one."""
        for stream in self._streams.values():
            stream.close()  # type: ignore[attr-defined]
        if self.store is None:
            return None
        from bpfroots import report

        self.store.finish()
        report.write_reports(self.store.path, self.store.run, list(self._done.values()))
        return self.store.path


_FEED = pytest.StashKey[_Feed]()
_FOLDER = pytest.StashKey[Path]()
_NAMES = pytest.StashKey[list[str]]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_FEED] = _Feed(config)
    arguments = config.getoption("--kernel")
    if arguments:
        from bpfroots import kernels

        try:
            requests = kernels.resolve_all(arguments).values()
            config.stash[_NAMES] = list(dict.fromkeys(request.name for request in requests))
        except BpfrootsError as error:
            raise pytest.UsageError(error.render()) from None


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "cell" not in metafunc.fixturenames:
        return
    family = metafunc.function.__name__.removeprefix("test_")
    names = metafunc.config.stash.get(_NAMES, None)
    if not names:
        skip = pytest.param(None, marks=pytest.mark.skip(reason=_HINT), id="no-kernel")
        metafunc.parametrize("cell", [skip], indirect=True)
        return
    try:
        parameters = _parameters(family, names)
    except BpfrootsError as error:
        raise pytest.UsageError(error.render()) from None
    metafunc.parametrize("cell", parameters, indirect=True)


def _parameters(family: str, names: list[str]) -> list[Any]:
    from bpfroots.jobs.spec import case_cells
    from bpfroots.programs import cases
    from bpfroots.programs.protocol import MECHANISMS

    specs = case_cells([c for c in cases.all_cases() if c.family == family], MECHANISMS)
    return [
        pytest.param((name, spec), id=f"{spec.name.removeprefix(f'{family}/')}-{spec.mechanism}-{name}")
        for name in names
        for spec in specs
    ]


def _wanted(item: pytest.Item) -> tuple[str, CellSpec] | None:
    spec = getattr(item, "callspec", None)
    found: tuple[str, CellSpec] | None = spec.params.get("cell") if spec else None
    return found


def pytest_collection_finish(session: pytest.Session) -> None:
    """What -k and --lf left is what runs; kernel after kernel."""
    session.items.sort(key=lambda item: (_wanted(item) or ("",))[0])
    for item in session.items:
        if found := _wanted(item):
            session.config.stash[_FEED].want(*found)


@pytest.fixture
def cell(request: pytest.FixtureRequest) -> Cell:
    """The finished cell of this item."""
    kernel, spec = request.param
    try:
        return request.config.stash[_FEED].cell(kernel, spec)
    except BpfrootsError as error:
        pytest.fail(error.render(), pytrace=False)


@pytest.fixture
def check(request: pytest.FixtureRequest) -> Any:
    """A function that passes, skips or fails the test as a cell's outcome says."""
    store = request.config.stash[_FEED].store

    def check_cell(cell: Cell) -> None:
        from bpfroots.report.failure import failure

        if cell.outcome in {"skip", "unsupported"}:
            pytest.skip(visible(f"{cell.outcome}: {cell.reason}"))
        if cell.outcome == "xfail":
            pytest.xfail(visible(cell.reason))
        if cell.outcome != "pass":
            pytest.fail(failure(cell, store.path if store else Path()), pytrace=False)

    return check_cell


def pytest_sessionfinish(session: pytest.Session) -> None:
    folder = session.config.stash[_FEED].close()
    if folder:
        session.config.stash[_FOLDER] = folder


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if folder := config.stash.get(_FOLDER, None):
        terminalreporter.write_line(f"results  {folder}")
        terminalreporter.write_line(f"report   {folder / 'report' / 'index.html'}")
