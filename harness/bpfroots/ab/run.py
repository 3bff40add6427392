"""Two kernels, the same programs: what is asked, and what came of it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bpfroots import exitcodes, kernels
from bpfroots.ab import page, per_patch
from bpfroots.ab.model import Findings, Problem, Side
from bpfroots.ab.pair import Asked, compared, ran, request
from bpfroots.ab.series import Taken
from bpfroots.errors import BootError, KernelError
from bpfroots.jobs import run as job
from bpfroots.jobs.check_series import boot_in
from bpfroots.progress import Progress

_LINES = 6


@dataclass(frozen=True)
class Result:
    """``index`` is None where no guest ran."""

    comparison: Findings
    exit_code: int
    index: Path | None = None


def run(wanted: Asked, progress: Progress) -> Result:
    """Compare. Raises UserError for programs that there are not, KernelError for a base that does not build,
    and what `jobs.run.opened` raises; what is wrong with a series is in the result."""
    began = time.monotonic()
    if wanted.series and wanted.series.problem:
        return _without(wanted, wanted.series.problem)
    job.specs_of(request(wanted, wanted.kernels))  # before a kernel is built for what there is not
    if problem := _not_built(wanted, progress):
        return _without(wanted, problem)
    opened = ran(wanted, wanted.kernels, progress)
    found = compared(opened.store, opened.cells, wanted)
    found.problems += [
        problem for error in opened.failed if (problem := _not_booted(error, found, wanted, progress))
    ]
    if wanted.per_patch and wanted.series:
        per_patch.find(found, wanted, progress)
    found.seconds = round(time.monotonic() - began, 1)
    index = page.write(opened.store.path, found, opened.cells)
    return Result(found, exit_code(found, opened), index)


def exit_code(found: Findings, opened: job.Run | None = None) -> int:
    """0, or the worst of: 1 for a new reject or crash, or for ``--fail-on``; 3 for a kernel that does not
    build or boot; 4 for what is our side's."""
    codes = [exitcodes.UNEXPECTED] if found.regressions or found.failing else []
    codes += [exitcodes.KERNEL] if found.problems else []
    if opened:
        codes += [error.exit_code for error in opened.failed]
        codes += [exitcodes.INFRA for cell in opened.cells if cell.outcome == "infra_error"]
    return exitcodes.worst(codes)


# -- a series that does not build or boot ------------------------------------------------------------


def _without(wanted: Asked, problem: Problem) -> Result:
    a, b = (Side(argument, "", argument) for argument in wanted.kernels)
    found = Findings(a, b, problems=[problem], command=wanted.command)
    found.series = wanted.series.info if wanted.series else None
    return Result(found, exit_code(found))


def _not_built(wanted: Asked, progress: Progress) -> Problem | None:
    """Builds both kernels; what is wrong with the second, and the first patch of a series that it is true of.

    Raises KernelError for the first kernel: there is nothing to compare with."""
    requests = kernels.resolve_all(wanted.kernels)
    kernels.ensure(requests[wanted.kernels[0]], progress)
    try:
        kernels.ensure(requests[wanted.kernels[1]], progress)
    except KernelError as error:
        if wanted.series is None:
            raise
        return _first_failing(wanted.series, error, "does not build", lambda one: _builds(one, progress))
    return None


def _not_booted(error: Exception, found: Findings, wanted: Asked, progress: Progress) -> Problem | None:
    if not isinstance(error, BootError):
        return None
    if wanted.series is None or error.kernel == found.a.kernel:
        return Problem(error.kernel, "does not boot", error_lines(error))
    boot = boot_in(wanted.accel, progress)

    def boots(argument: str) -> KernelError | None:
        if failed := _builds(argument, progress):
            return failed
        try:
            boot(kernels.ensure(kernels.resolve(argument), progress))
        except KernelError as failed:
            return failed
        return None

    return _first_failing(wanted.series, error, "does not boot", boots)


def _builds(argument: str, progress: Progress) -> KernelError | None:
    try:
        kernels.ensure(kernels.resolve(argument), progress)
    except KernelError as error:
        return error
    return None


def _first_failing(
    series: Taken, error: KernelError, what: str, failure: Callable[[str], KernelError | None]
) -> Problem:
    """The first patch with which it fails, halving the series; all of it is known to fail, nothing of it not
    to. ``error`` is that of the whole series."""
    good, bad = 0, series.count
    while bad - good > 1:
        middle = (good + bad) // 2
        if failed := failure(series.prefix(middle)):
            bad, error = middle, failed
        else:
            good = middle
    return Problem(series.patched, what, error_lines(error), series.info.patches[bad - 1].name)


def error_lines(error: KernelError) -> list[str]:
    """The first lines of an error; of a build that failed those of the compiler."""
    lines = [error.message]
    if error.log:
        said = error.log.read_text(errors="replace").splitlines()
        lines += [one for one in said if ": error: " in one or "*** " in one][:_LINES]
    return [*lines, *error.detail.splitlines()][: _LINES + 1]
