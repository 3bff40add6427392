"""A whole bisection: a work tree of its own, git's bisect in it, kernels built and asked, reports."""

from __future__ import annotations

import shlex
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec

from bpfroots import cache, kernels
from bpfroots.bisect import kernel as building
from bpfroots.bisect import page as reports
from bpfroots.bisect import trees
from bpfroots.bisect.change import change
from bpfroots.bisect.commits import CommitHistory
from bpfroots.bisect.model import Bisection, FirstBad, Found, Judgement, Shown, add_judgement, read_judgements
from bpfroots.bisect.predicate import PredicateOptions, PredicateRunner, understand
from bpfroots.bisect.search import Prepared, Search
from bpfroots.errors import UserError
from bpfroots.jobs.judge import reproduce
from bpfroots.jobs.kit import prepare
from bpfroots.jobs.run import describe, open_store
from bpfroots.kernels import Kernel, build
from bpfroots.kernels.facts import remember
from bpfroots.machine import choose_accel
from bpfroots.progress import Progress
from bpfroots.report import html
from bpfroots.results.model import Cell, TestResult
from bpfroots.results.store import RunStore

_OPTIONS = "bisect.json"
_LOG = "bisect.log"
_CONFIG = "config"


class BisectOptions(msgspec.Struct, frozen=True, omit_defaults=True):
    """bisect.json: what a bisection was asked for; enough to resume it."""

    asked: PredicateOptions
    history: trees.Wanted
    recipe: building.Recipe = building.Recipe()
    accel: str = "auto"
    wanted: float = 0.99
    most: int = 100


@dataclass
class BisectResult:
    """``store`` is the run folder, ``page`` its report."""

    store: RunStore
    bisection: Bisection
    page: Path
    mail: Path
    log: Path


class Kernels:
    """The tester of a search: builds commits, and asks their kernels."""

    def __init__(
        self, history: CommitHistory, config: tuple[Path, ...], asker: PredicateRunner, progress: Progress
    ) -> None:
        self.built: dict[str, Kernel] = {}
        self._history = history
        self._config = config
        self._asker = asker
        self._progress = progress

    def prepare(self, commit: str) -> Prepared:
        self._history.checkout(commit)
        commits = building.definition(self._history.tree, self._config)
        building.locate(commits, self._progress)
        wanted = self._asker.configured(commits)
        known = kernels.is_built(wanted, self._progress)
        kernel = kernels.ensure(wanted, self._progress)
        kernels.require_options(kernel)
        self.built[commit] = kernel
        image = remember("sha256", kernel.image.path, lambda: cache.sha256(kernel.image.path))
        image += self._asker.prepare(wanted)
        store = self._asker.store
        if describe(kernel) not in store.run.kernels:
            store.run.kernels.append(describe(kernel))
            store.save()
        return Prepared(image, not known, kernel)

    def discard(self, kernel: Kernel) -> None:
        """Forget it, and what was built for it."""
        build.discard(kernel.key)
        self._asker.discard(kernel)

    @property
    def case(self) -> str:
        """That of all results."""
        return self._asker.predicate.case

    def reproduce(self, kernel: str) -> str:
        """The command that asks a kernel the same; empty where there is none for that."""
        spec = self._asker.predicate.spec
        return reproduce(spec, kernel) if spec else ""

    def run(self, prepared: Prepared, number: int) -> TestResult:
        if number > 1:  # clones take a second or two
            return self._asker.ask(prepared.handle, number)
        with self._progress.task(f"guest     {prepared.handle.name}") as task:
            result = self._asker.ask(prepared.handle)
            verdict = result.verdict if isinstance(result, Cell) else ""
            task.summary = verdict or result.outcome
        return result


def load_options(store: RunStore) -> BisectOptions:
    """What the bisection in a run folder was asked for. Raises UserError where it is none."""
    try:
        return msgspec.json.decode((store.path / _OPTIONS).read_bytes(), type=BisectOptions)
    except FileNotFoundError:
        msg = f"{store.run.run} is not a bisection: {shlex.join(store.run.command)}"
        raise UserError(msg) from None
    except msgspec.MsgspecError as error:
        msg = f"{store.path / _OPTIONS}: {error}"
        raise UserError(msg) from None


def run(
    options: BisectOptions, *, command: Sequence[str], progress: Progress, resume: RunStore | None = None
) -> BisectResult:
    """Find the first bad commit. What is found out is on disk before git is told: with ``resume`` it
    continues from there.

    Raises UserError for a predicate or ends that make no sense, InfraError where our side fails, and for
    anything but this history's kernels what `prepare` raises.
    """
    start = time.monotonic()
    predicate = understand(options.asked)
    config = building.fragments(options.recipe, bool(options.asked.selftest))
    chosen = choose_accel(options.accel)
    with trees.opened(options.history, progress) as (history, good, bad):
        kit = prepare([], progress)
        if resume:
            resume.repair()
            if resume.run.image.get("digest") != kit.image.digest:
                progress.say("image     has changed since; what was judged with the old one stays so")
        store = resume or open_store(kit, chosen, "bisect", list(command))
        _save_options(store, options, good, bad)
        progress.say(f"results   {store.path}")
        asker = PredicateRunner(predicate, kit, store, chosen, progress, as_is=options.recipe.keeps)
        tester = Kernels(history, config, asker, progress)

        def note(judgement: Judgement) -> None:
            add_judgement(store.path, judgement)
            progress.say(reports.line(judgement, history.commit(judgement.commit)))

        with _kept(store, history, progress):
            search = Search(
                history,
                tester,
                predicate,
                (good, bad),
                wanted=options.wanted,
                most=options.most,
                known=read_judgements(store.path, {kernel.name for kernel in store.run.kernels}),
                note=note,
            )
            found = search.run()
            bisection = _outcome(store, history, predicate.name, options, found, (good, bad), tester)
        bisection.wall_seconds, bisection.resumed = round(time.monotonic() - start, 1), resume is not None
        page, mail = reports.write(store.path, bisection)
        _discard(tester, bisection)
    return BisectResult(store, bisection, page, mail, store.path / _LOG)


def _save_options(store: RunStore, options: BisectOptions, good: str, bad: str) -> None:
    """With commits for ends: a branch may have moved by the time that it is resumed."""
    if options.history.linux:
        ends = {"good": good} if options.history.series else {"good": good, "bad": bad}
        options = msgspec.structs.replace(options, history=msgspec.structs.replace(options.history, **ends))
    (store.path / _OPTIONS).write_bytes(msgspec.json.format(msgspec.json.encode(options)))


@contextmanager
def _kept(store: RunStore, history: CommitHistory, progress: Progress) -> Iterator[None]:
    """Whatever ends it, the run folder is whole, and says how to resume it."""
    try:
        yield
    except UserError:
        raise
    except BaseException:
        progress.say(f"resume    bpfroots bisect run --resume {store.run.run}")
        raise
    finally:
        (store.path / _LOG).write_text(history.log())
        store.finish()
        cells, steps = store.cells(), store.steps()
        if cells or steps:
            html.write_reports(store.path, store.run, cells, steps)


def _outcome(
    store: RunStore,
    history: CommitHistory,
    name: str,
    options: BisectOptions,
    found: Found,
    ends: tuple[str, str],
    tester: Kernels,
) -> Bisection:
    known = {judgement.commit: judgement for judgement in found.judgements}
    any_kernel = next(iter(tester.built.values()), None)
    info = store.run.kernels[0] if store.run.kernels else None
    bisection = Bisection(
        question=name,
        expect=list(options.asked.expect),
        good=history.commit(ends[0]),
        bad=history.commit(ends[1]),
        found=found,
        suspects=[history.commit(commit) for commit in found.suspects],
        commits={commit: history.commit(commit) for commit in known},
        release=info.release if info else "",
        compiler=info.compiler if info else "",
        command=store.run.command,
        merges=history.merges(*ends),
        seconds=round(sum(judgement.seconds for judgement in found.judgements), 1),
    )
    if any_kernel and any_kernel.image.config:
        (store.path / _CONFIG).write_bytes(any_kernel.image.config.read_bytes())
    bisection.config = _CONFIG if (store.path / _CONFIG).exists() else ""
    if len(found.suspects) == 1:
        first = found.suspects[0]
        bisection.diffstat = history.diffstat(first)
        parent = next((p for p in history.parents(first) if p in known), ends[0])
        bisection.change, after = _change(store, tester.case, known[parent], known[first])
        if isinstance(after, Cell):
            # The kernel's name is known only here, the commit everywhere.
            bisection.reproduce = tester.reproduce(f"TREE@{first[:12]}")
            source = after.artefacts.get("source.bpf.c")
            bisection.source = (store.path / source).read_text(errors="replace") if source else ""
    return bisection


def _change(
    store: RunStore, case: str, before: Judgement, after: Judgement
) -> tuple[FirstBad | None, TestResult | None]:
    results = [result for result in (*store.cells(), *store.steps()) if result.case == case]
    shown = {Shown(result.kernel, result.attempt): result for result in results}
    old, new = (shown.get(one.shown) if one.shown else None for one in (before, after))
    if old is None or new is None:
        return None, new
    return change(store.path, old, new), new


def _discard(tester: Kernels, bisection: Bisection) -> None:
    """Kernels are 150 MB each, and their tests come on top; only the first bad one and the good one below it
    are of use any more."""
    kept = {commit.id for commit in bisection.suspects}
    names = {bisection.change.parent} if bisection.change else set()
    for commit, kernel in tester.built.items():
        if commit not in kept and kernel.name not in names:
            tester.discard(kernel)
