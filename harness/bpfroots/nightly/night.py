"""One night: bring sources up to date, build, run, compare with the last good night, keep, tell.

A part that fails is written down and the rest continues. What is finished is on disk at any moment.
"""

from __future__ import annotations

import contextlib
import fcntl
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bpfroots import cluster, exitcodes, kernels, settings, system
from bpfroots.errors import BpfrootsError, InfraError, UserError
from bpfroots.history import page
from bpfroots.history.database import History
from bpfroots.history.record import beside_cells, catch_up, observe_run
from bpfroots.history.trend import Trend, trend
from bpfroots.jobs.kit import prepare_for
from bpfroots.jobs.run import describe_run, reopen
from bpfroots.jobs.site import Executor
from bpfroots.kernels import Request
from bpfroots.kernels.update import fetch
from bpfroots.machine import choose_accel
from bpfroots.nightly import state as night
from bpfroots.nightly import work as works
from bpfroots.nightly.config import Config, Debian, Git, Update, Work
from bpfroots.nightly.state import NightRecord, WorkFailure
from bpfroots.progress import Progress
from bpfroots.report import html, kcidb
from bpfroots.results import artefacts
from bpfroots.results.model import BUILD, Cell, Step
from bpfroots.results.store import RunStore, run_folders


@dataclass(frozen=True)
class Outcome:
    """What a night has found. ``exit_code`` as docs/reference.md has them."""

    store: RunStore
    cells: list[Cell]
    trend: Trend
    failures: list[WorkFailure]
    exit_code: int


def run(
    config: Config, path: Path, *, command: list[str], progress: Progress, resume: bool = False
) -> Outcome:
    """A whole night of the job that ``path`` describes; ``resume``: the rest of the one that was interrupted.

    Raises InfraError where another night is running, UserError where there is none to resume.
    """
    with _alone(), cluster.connect(config.scheduler or None) as executor:
        store, state = _resumed(config) if resume else _new(config, path, command)
        progress.say(f"results   {store.path}")
        going = _Night(config, store, state, progress, executor)
        try:
            if not resume:
                going.update()
            going.work(resume)
        except BaseException:
            html.write_reports(store.path, store.run, store.cells())
            progress.say(
                f"kept      what is done, in {store.path}; bpfroots nightly {path} --resume does the rest"
            )
            raise
        return going.conclude()


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    """One night at a time in a project: two would take each other's cores, memory and build directories."""
    path = settings.results_root() / ".nightly.lock"
    path.parent.mkdir(exist_ok=True)
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            msg = "another bpfroots nightly is running in this project"
            raise InfraError(msg, hint=f"wait for it; `fuser {path}` names its process") from None
        yield


def _new(config: Config, path: Path, command: list[str]) -> tuple[RunStore, NightRecord]:
    store = RunStore.create("nightly", command, config.name)
    store.run.job = config.name
    store.save()
    state = NightRecord(str(path.resolve()))
    state.save(store.path)
    return store, state


def _resumed(config: Config) -> tuple[RunStore, NightRecord]:
    for folder in reversed(run_folders()):
        with contextlib.suppress(UserError):  # of a folder that cannot be read
            store = RunStore.open(folder)
            if store.run.job == config.name:
                break
    else:
        store = None
    if store is None or store.run.finished:
        msg = f"no night of {config.name} was interrupted"
        raise UserError(msg, hint="bpfroots nightly CONFIG, without --resume")
    store.repair()
    state = night.load(store.path)
    if state.failures:
        # What failed may go this time; cells that are finished are not run again.
        state.done, state.failures = {}, []
    return store, state


class _Night:
    """A night that is running."""

    def __init__(
        self,
        config: Config,
        store: RunStore,
        state: NightRecord,
        progress: Progress,
        executor: Executor | None,
    ) -> None:
        self._config = config
        self._store = store
        self._state = state
        self._progress = progress
        self._executor = executor

    def update(self) -> None:
        """Bring sources up to date. Where that fails the night is one of what is there."""
        for update in self._config.update:
            with self._written_down(f"update of {_source(update)}", of_night=False):
                self._update(update)

    def _update(self, update: Update) -> None:
        with self._progress.task(f"update    {_source(update)}"):
            match update:
                case Git(tree, remote):
                    fetch(Path(settings.anchored(tree)), remote)
                case Debian(package):
                    system.upgrade(package, self._store.path / "update.log")

    def work(self, resume: bool) -> None:
        """Build every kernel, then do all parts on those that there are."""
        if self._executor:
            with self._written_down("builds by workers", of_night=False):
                self._executor.build(self._config.kernels, self._progress)
        requests = kernels.resolve_all(self._config.kernels)
        built = [request for request in dict.fromkeys(requests.values()) if self._build(request)]
        names = {argument: request.name for argument, request in requests.items() if request in built}
        site = None
        with self._written_down("preparation"):
            accel = choose_accel(self._config.accel)
            kit = prepare_for(built, self._progress)
            if resume and self._store.run.kernels:
                reopen(self._store, kit)
            describe_run(self._store, kit, accel)
            site = works.NightSite(
                self._config, kit, names, accel, self._store, self._progress, self._executor
            )
        for number, work in enumerate(self._config.work):
            if site and number not in self._state.done and any(name in names for name in work.kernels):
                self._do(number, work, site)

    def _build(self, request: Request) -> bool:
        step = Step(case=BUILD, kernel=request.name, outcome="pass")
        with self._written_down(f"kernel {request.name}"):
            try:
                kernels.ensure(request, self._progress)
            except BpfrootsError as error:
                step.outcome, step.reason = "fail", error.message
                raise
            finally:
                self._store.add_step(step)
        return step.outcome == "pass"

    def _do(self, number: int, work: Work, site: works.NightSite) -> None:
        code = 0
        with self._written_down(works.title(work)):
            failed, code = works.do(work, site)
            for error in failed:
                self._fail(works.title(work), error)
        self._state.done[number] = code
        self._state.save(self._store.path)

    @contextlib.contextmanager
    def _written_down(self, what: str, *, of_night: bool = True) -> Iterator[None]:
        """What goes wrong inside is a failure of the night, not its end."""
        try:
            yield
        except BpfrootsError as error:
            self._fail(what, error, of_night=of_night)

    def _fail(self, what: str, error: BpfrootsError, *, of_night: bool = True) -> None:
        self._state.failures.append(WorkFailure(what, error.message, error.exit_code, of_night))
        self._state.save(self._store.path)
        self._progress.say(f"failed    {what}: {error.message}")

    def conclude(self) -> Outcome:
        """Record the night, compare it with the last good one, and remove old ones."""
        store = self._store
        store.finish()
        cells = store.cells()
        with History() as history:
            history.record(store.run, observe_run(store), good=False)
            catch_up(history)  # with the others: this one is there
            (recorded,) = [one for one in history.runs(store.run.job) if one.name == store.run.run]
            found = trend(history, recorded, self._config.limits)
            if not found.regressions and not any(failure.of_night for failure in self._state.failures):
                history.mark_good(store.run.run)
            beside = beside_cells(store)
            html.write_reports(store.path, store.run, cells, beside)
            if origin := self._config.kcidb_origin:
                kcidb.write(store.path, origin, store.run, [*cells, *beside], store.steps())
            page.write(history, recorded, found, store.path, cells)
            with self._written_down("retention", of_night=False):
                artefacts.deposit(store.path)
                self._prune(history, found)
        return Outcome(store, cells, found, self._state.failures, self._exit_code(cells, found))

    def _prune(self, history: History, found: Trend) -> None:
        """Keep the newest nights, the one that others are compared with, and what findings point at."""
        nights = self._config.retention.nights
        recorded = history.runs(self._config.name)
        if not 0 < nights < len(recorded):
            return
        pointed_at = {
            name for finding in found.regressions for name in (finding.first_bad, finding.last_good)
        }
        kept = {found.reference, *pointed_at}
        older = [folder for folder in run_folders() if folder.name < recorded[-nights].name]
        # Also one that was interrupted and never finished, which the history does not have.
        old = [folder.name for folder in older if folder.name not in kept and self._is_ours(folder)]
        artefacts.prune(self._store.path.parent, old)

    def _is_ours(self, folder: Path) -> bool:
        try:
            return RunStore.open(folder).run.job == self._config.name
        except UserError:
            return False

    def _exit_code(self, cells: list[Cell], found: Trend) -> int:
        codes = [failure.exit_code for failure in self._state.failures] + list(self._state.done.values())
        codes += [exitcodes.of_outcome(cell.outcome) for cell in cells]
        return exitcodes.worst([*codes, exitcodes.UNEXPECTED if found.regressions else exitcodes.OK])


def _source(update: Update) -> str:
    return update.tree if isinstance(update, Git) else update.package
