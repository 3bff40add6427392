"""One run of the same programs on two kernels, and what it finds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import msgspec

from bpfroots import kernels
from bpfroots.ab import comparison
from bpfroots.ab.filters import Filters
from bpfroots.ab.model import ChangedProgram, Findings, Side
from bpfroots.ab.series import Taken
from bpfroots.analysis.type_ids import TypeIds
from bpfroots.errors import UserError
from bpfroots.jobs import run as job
from bpfroots.jobs.site import Executor
from bpfroots.progress import Progress
from bpfroots.results.model import Cell
from bpfroots.results.request import Cases, Objects, Request, Together
from bpfroots.results.store import RunStore


@dataclass(frozen=True)
class Asked:
    """``kernels`` as ``--kernel`` has them, the base first; ``series`` is what the second has on top of the
    first. ``per_patch``: look for the first patch of each change."""

    kernels: tuple[str, str]
    what: Together
    options: comparison.Options = field(default_factory=comparison.Options)
    series: Taken | None = None
    per_patch: bool = False
    cost: bool = False
    accel: str = "auto"
    guests: int | None = None
    command: list[str] = field(default_factory=list)
    executor: Executor | None = None


def _arguments(given: Sequence[str]) -> list[str]:
    """What run.json has for arguments of ``--kernel``. Raises UserError for one kernel twice."""
    requests = kernels.resolve_all(given)
    found = [requests[argument].argument for argument in given]
    if found[0] == found[1]:
        msg = f"{given[0]} and {given[1]} are one kernel"
        raise UserError(msg, hint="--kernel A --kernel B, or --series")
    return found


def request(wanted: Asked, chosen: Sequence[str], only: Sequence[str] = ()) -> Request:
    what = msgspec.structs.replace(wanted.what, only=tuple(only))
    return Request(tuple(chosen), what, "ab", wanted.accel, wanted.guests, wanted.cost, reuse=True)


def ran(wanted: Asked, chosen: Sequence[str], progress: Progress, only: Sequence[str] = ()) -> job.Run:
    """The run of two kernels; `page` writes its reports."""
    options = job.RunOptions(wanted.command, executor=wanted.executor, report=lambda _store, _cells: None)
    with job.opened(request(wanted, chosen, only), progress, options) as opened:
        opened.run()
    return opened


def ran_on(wanted: Asked, kernel: str, only: Sequence[str], progress: Progress) -> Findings:
    """The base against another kernel, over some objects."""
    pair = (wanted.kernels[0], kernel)
    opened = ran(wanted, pair, progress, only)
    for error in opened.failed:
        raise error
    options = replace(wanted.options, filters=Filters(), fail_on=())
    return compared(opened.store, opened.cells, replace(wanted, kernels=pair, options=options))


def compared(store: RunStore, cells: Sequence[Cell], wanted: Asked) -> Findings:
    """The comparison of a finished run."""
    infos = {info.argument: info for info in store.run.kernels}
    sides = [
        Side(info.name, info.release, info.argument)
        for info in map(infos.__getitem__, _arguments(wanted.kernels))
    ]
    one, other = (kernels.vmlinux(infos[side.argument].key) for side in sides)
    options = replace(wanted.options, corpus=corpora(wanted.what), types=TypeIds(one, other))
    found = comparison.compare(store.path, cells, sides[0], sides[1], options)
    found.run, found.command = store.run.run, wanted.command
    found.series = wanted.series.info if wanted.series else None
    return found


def source_of(kernel: str, progress: Progress) -> Path:
    """The tree that a kernel is built from, patches applied. Raises UserError where that is not known."""
    request = kernels.resolve(kernel)
    if not isinstance(request, kernels.Definition):
        msg = f"{kernel}: built elsewhere, so its tree is not known"
        raise UserError(msg, hint="a source tree, a name in kernels/, TREE@REV")
    return kernels.tools_source(request, progress)[0]


def corpora(what: Together) -> Callable[[str], str]:
    """From the name of a case or an object to its corpus; empty for objects that were given by path."""
    names = {part.name for part in what.parts if isinstance(part, Objects)} - {Objects(()).name}
    others = "cases" if any(isinstance(part, Cases) for part in what.parts) else ""

    def corpus(case: str) -> str:
        first = case.partition("/")[0]
        return first if first in names else "" if first == Objects(()).name else others

    return corpus


def changed(found: Findings) -> dict[tuple[str, str, str], ChangedProgram]:
    """By object, program and mechanism."""
    return {(one.object, one.program, one.mechanism): one for one in found.changes}
