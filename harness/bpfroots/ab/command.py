"""bpfroots ab: two kernels, the same programs: what changed?"""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bpfroots.cli import complete
from bpfroots.cli.options import (
    ACCEL,
    INCLUDE,
    JOBS,
    JSON,
    SCHEDULER,
    directories,
    echo,
    global_values,
    print_json,
)
from bpfroots.errors import UserError
from bpfroots.progress import Progress

if TYPE_CHECKING:
    from bpfroots.ab.pair import Asked


@click.command()
@click.argument("programs", nargs=-1, metavar="[PROGRAM|DIR|CORPUS]...")
@click.option(
    "--kernel",
    "kernels",
    multiple=True,
    metavar="K",
    shell_complete=complete.kernels,
    help="Twice: the kernel that is changed, and what it became.",
)
@click.option("--linux", metavar="K", help="What --series is put on top of.  [default: baseline]")
@click.option(
    "--series",
    metavar="S",
    help="A directory of patches, a mailbox, a patch, REV..REV of --linux, or a message id.",
)
@click.option("--per-patch", is_flag=True, help="Find the first patch of the series for each change.")
@click.option(
    "-f",
    "--filter",
    "filters",
    multiple=True,
    metavar="F",
    help="As veristat -f: 'xdp*', 'file/prog', 'insns_pct>5', '!flaky*'. Repeatable.",
)
@click.option(
    "--fail-on", multiple=True, metavar="E", help="Exit with 1 if that is true: 'insns>5%'. Repeatable."
)
@click.option(
    "--expect", metavar="FILE", help="New rejects and crashes that are expected: see the reference."
)
@click.option("--cost", is_flag=True, help="Count instructions per run, where programs are run.")
@INCLUDE
@click.option(
    "-G", "globals_", multiple=True, metavar="NAME=VALUE", help="Value of a global variable. Repeatable."
)
@click.option("--as-is", is_flag=True, help="No fix-ups, as for load.")
@click.option(
    "--timeout",
    type=click.FloatRange(0, min_open=True),
    metavar="S",
    help="Seconds for an object, as for load.",
)
@JOBS
@SCHEDULER
@ACCEL
@JSON
def ab(
    programs: tuple[str, ...],
    kernels: tuple[str, ...],
    linux: str | None,
    series: str | None,
    scheduler: str | None,
    as_json: bool,
    **how: Any,
) -> None:
    """Compare two kernels over the same programs: what did a series change?

    Verdicts, messages, verifier figures, logs, translated and JIT code of every program, regressions first.
    Exits with 1 for a new reject or crash.
    """
    from bpfroots import cluster
    from bpfroots.ab import run as job
    from bpfroots.ab import text

    progress = Progress()
    wanted = _wanted(programs, kernels, linux, series, how, progress)
    with cluster.connect(scheduler) as executor:
        result = job.run(dataclasses.replace(wanted, executor=executor), progress)
    if as_json:
        print_json(result.comparison)
    else:
        echo(text.render(result.comparison).rstrip("\n"))
        if result.index:
            echo(f"\nreport  {result.index}")
    sys.exit(result.exit_code)


def _check(kernels: tuple[str, ...], linux: str | None, series: str | None, *, per_patch: bool) -> None:
    """Raises UserError for options that do not fit each other."""
    if bool(series) == bool(kernels) or (kernels and len(kernels) != 2) or (kernels and linux):
        msg = "which two kernels?"
        hint = "--kernel A --kernel B, or --series S with --linux TREE or without"
        raise UserError(msg, hint=hint)
    if per_patch and not series:
        msg = "--per-patch: two kernels have no patches"
        raise UserError(msg, hint="--series S")


def _wanted(
    programs: tuple[str, ...],
    kernels: tuple[str, ...],
    linux: str | None,
    series: str | None,
    how: dict[str, Any],
    progress: Progress,
) -> Asked:
    """What is asked for. Raises UserError for options that do not fit each other."""
    from bpfroots.ab import corpus
    from bpfroots.ab import series as forms
    from bpfroots.ab.comparison import Options
    from bpfroots.ab.filters import fail_on, filters
    from bpfroots.ab.pair import Asked, source_of
    from bpfroots.programs import allowed
    from bpfroots.results.request import TIMEOUT_S, Objects

    _check(kernels, linux, series, per_patch=how["per_patch"])
    options = Options(
        filters(how["filters"]),
        tuple(fail_on(text) for text in how["fail_on"]),
        allowed.read(Path(how["expect"])) if how["expect"] else (),
    )
    taken = forms.take(series, linux or "baseline", progress) if series else None
    pair = (taken.base, taken.patched) if taken else (kernels[0], kernels[1])
    # Of a series that does not apply there is no tree.
    trees = (pair[0], pair[0] if taken and taken.problem else pair[1])
    loaded = Objects(
        (),
        globals=global_values(how["globals_"]),
        fixups=not how["as_is"],
        timeout_s=how["timeout"] or TIMEOUT_S,
        any_verdict=True,
        include=directories(how["include"]),
    )
    what = corpus.together(programs, loaded, lambda number: source_of(trees[number], progress), progress)
    return Asked(
        pair,
        what,
        options,
        taken,
        how["per_patch"],
        how["cost"],
        how["accel"],
        how["guests"],
        ["bpfroots", *sys.argv[1:]],
    )
