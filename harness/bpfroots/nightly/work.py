"""The kinds of work of a night, and how each is done."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence

import msgspec

from bpfroots import exitcodes, kernels
from bpfroots.ab import corpus, inside, pair, text
from bpfroots.errors import BpfrootsError
from bpfroots.jobs import run as cells_job
from bpfroots.jobs.kit import Kit, roomy
from bpfroots.jobs.site import Executor, Site
from bpfroots.machine import Accel
from bpfroots.nightly.config import Ab, Cells, Config, TestMaps, TestProgs, TestVerifier, Work
from bpfroots.programs import cases
from bpfroots.progress import Progress
from bpfroots.results.request import Cases as CasesWanted
from bpfroots.results.request import Objects, Request, Selftests
from bpfroots.results.selftests import TEST_MAPS, TEST_PROGS
from bpfroots.results.store import RunStore
from bpfroots.selftest import progs_run
from bpfroots.selftest import run as selftest
from bpfroots.settings import anchored


@dataclasses.dataclass(frozen=True)
class NightSite:
    """Where a night's work is done: ``names`` are those of the kernels of ``kit``, by what was asked for.

    ``accel`` is this machine's; cells run ``executor`` where that is given.
    """

    config: Config
    kit: Kit
    names: Mapping[str, str]
    accel: Accel
    store: RunStore
    progress: Progress
    executor: Executor | None = None

    def there(self, wanted: Sequence[str]) -> tuple[str, ...]:
        """Those of ``wanted`` kernels that there are, as they are asked for."""
        return tuple(argument for argument in wanted if argument in self.names)

    def on(self, wanted: Sequence[str]) -> Kit:
        """The kit with those of ``wanted`` kernels that there are."""
        names = {self.names[argument] for argument in self.there(wanted)}
        chosen = [kernel for kernel in self.kit.kernels if kernel.name in names]
        return dataclasses.replace(self.kit, kernels=chosen)


def title(work: Work) -> str:
    """In a few words, for people."""
    return f"{work.__struct_config__.tag} on {', '.join(work.kernels)}"


@functools.singledispatch
def do(work: Work, site: NightSite) -> tuple[list[BpfrootsError], int]:
    """Do it, but for what is done already: what could not be done, and an exit code for the rest."""
    raise NotImplementedError(work)


@do.register
def _cells(work: Cells, site: NightSite) -> tuple[list[BpfrootsError], int]:
    site_kit = site.on(work.kernels)
    what = CasesWanted(work.cases or "", tuple(cases.mechanisms(work.mechanisms)), work.full)
    request = Request(tuple(work.kernels), what, "nightly", site.config.accel, site.config.guests, work.cost)
    accel = site.executor.accel(site.config.accel) if site.executor else site.accel
    where = Site(site_kit, site.store, accel, site.config.guests, executor=site.executor)
    programs = cells_job.Programs(cells_job.specs_of(request), site_kit)
    run = cells_job.Run(request, where, programs, site.progress)
    run.run()
    return run.failed, 0  # what cells are worth is seen when all are there


@do.register
def _ab(work: Ab, site: NightSite) -> tuple[list[BpfrootsError], int]:
    loaded = Objects((), any_verdict=True)
    paths = [one if corpus.is_corpus(one) else anchored(one) for one in work.programs]
    chosen = (work.kernels[0], work.kernels[1])
    what = corpus.together(
        paths, loaded, lambda number: pair.source_of(chosen[number], site.progress), site.progress
    )
    wanted = pair.Asked(chosen, what, work.options, cost=work.cost, command=site.store.run.command)
    request = msgspec.structs.replace(pair.request(wanted, chosen), reuse=False)  # flaky ones are looked for
    kit = roomy(site.on(chosen))
    accel = site.executor.accel(site.config.accel) if site.executor else site.accel
    where = Site(kit, site.store, accel, site.config.guests, executor=site.executor)
    specs = cells_job.specs_of(request)
    run = cells_job.Run(request, where, cells_job.Programs(specs, kit), site.progress)
    run.run()
    number = [one for one in site.config.work if isinstance(one, Ab)].index(work) + 1
    found, index = inside.write(site.store, run.cells, specs, wanted, f"ab-{number}")
    site.progress.say(f"ab        {text.sentence(found)}: {index}")
    return run.failed, exitcodes.UNEXPECTED if found.regressions or found.failing else exitcodes.OK


@do.register
def _test_verifier(work: TestVerifier, site: NightSite) -> tuple[list[BpfrootsError], int]:
    kit = site.on(work.kernels)
    result = selftest.run_in(site.store, kit, site.accel, site.progress, logs=work.logs, testmod=work.testmod)
    return result.failed, 1 if any(result.differences().values()) else 0


@do.register
def _test_progs(work: TestProgs, site: NightSite) -> tuple[list[BpfrootsError], int]:
    return _own_tree(
        site,
        Selftests(
            TEST_PROGS,
            site.there(work.kernels),
            work.tests,
            site.config.accel,
            site.config.guests,
            work.timeout,
            work.as_is,
            tuple(map(anchored, work.allow)),
            tuple(map(anchored, work.deny)),
            tuple(map(anchored, work.splat_allow)),
        ),
    )


@do.register
def _test_maps(work: TestMaps, site: NightSite) -> tuple[list[BpfrootsError], int]:
    request = Selftests(
        TEST_MAPS,
        site.there(work.kernels),
        accel=site.config.accel,
        timeout_s=work.timeout,
        as_is=work.as_is,
        splat_allow=tuple(map(anchored, work.splat_allow)),
    )
    return _own_tree(site, request)


def _own_tree(site: NightSite, request: Selftests) -> tuple[list[BpfrootsError], int]:
    """Failures that are new compared with the first kernel; the history compares with the last good night."""
    known = kernels.resolve_all(site.config.kernels)
    wanted = [known[argument] for argument in request.kernels]
    result = progs_run.run_in(site.store, request, wanted, site.accel, site.progress)
    return result.failed, exitcodes.UNEXPECTED if result.worse() else exitcodes.OK
