"""bpfroots cases, run, load: what there is to run, and running it."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Any

import click

from bpfroots.cli.options import (
    ACCEL,
    FULL,
    JOBS,
    JSON,
    KERNEL,
    MECHANISM,
    SCHEDULER,
    echo,
    print_comparison,
    print_json,
    refuse_more,
)
from bpfroots.errors import UserError
from bpfroots.progress import Progress


@click.command("cases")
@click.option("-k", "expression", metavar="EXPR", help="Words joined by and, or, not.")
@FULL
@JSON
def list_cases(expression: str | None, full: bool, as_json: bool) -> None:
    """What there is to run, and what is expected of each."""
    from bpfroots.programs import cases
    from bpfroots.report import overview

    chosen = [case.describe() for case in cases.select(expression, full=full)]
    if as_json:
        print_json(chosen)
    else:
        overview.print_cases(chosen)


@click.command()
@KERNEL
@MECHANISM
@click.option("-k", "expression", metavar="EXPR", help="Cases by name: words joined by and, or, not.")
@FULL
@click.option("--compare", "with_comparison", is_flag=True, help="Print the comparison at the end.")
@click.option(
    "--cost/--no-cost",
    "with_cost",
    default=None,
    help="Measure instructions per run in machines that count them; default: with --compare.",
)
@click.option(
    "--reuse/--no-reuse",
    "with_reuse",
    default=None,
    help="Take cells from earlier runs where nothing has changed since; default: with --compare.",
)
@JOBS
@click.option("--resume", metavar="RUN", help="Go on with a run that was broken off, as it was asked for.")
@click.option("--keep-guest", is_flag=True, help="At the end, keep the guest for you to log in.")
@SCHEDULER
@ACCEL
@JSON
def run(
    resume: str | None,
    guests: int | None,
    keep_guest: bool,
    scheduler: str | None,
    as_json: bool,
    **chosen: Any,
) -> None:
    """Run cases; results go to a folder under results/."""
    from bpfroots import cluster
    from bpfroots.jobs import run as job
    from bpfroots.jobs.spec import case_cells
    from bpfroots.programs import cases

    if scheduler and keep_guest:
        msg = "--keep-guest keeps a guest of this process, and --scheduler has none"
        raise UserError(msg, hint="one of the two")
    store = None
    if resume:
        store, chosen = _recorded(resume, chosen)
    with_comparison, with_cost, with_reuse = (chosen[f"with_{n}"] for n in ("comparison", "cost", "reuse"))
    with cluster.connect(scheduler) as elsewhere:
        result = job.run(
            chosen["kernels"] or ("baseline",),
            case_cells(
                cases.select(chosen["expression"], full=chosen["full"]),
                cases.mechanisms(chosen["mechanisms"]),
            ),
            accel=chosen["accel"],
            label="compare" if with_comparison else "run",
            command=["bpfroots", *sys.argv[1:]],
            progress=Progress(),
            with_cost=with_comparison if with_cost is None else with_cost,
            with_reuse=with_comparison if with_reuse is None else with_reuse,
            guests=1 if keep_guest else guests,
            keep=_keep if keep_guest else None,
            resume=store,
            elsewhere=elsewhere,
        )
    _finish(result, as_json, with_comparison)


def _recorded(name: str, chosen: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """The folder of a run, and what it was asked for. Raises UserError where that was no `run`."""
    from bpfroots.results import store

    refuse_more("run", name, chosen)
    opened = store.RunStore.open(store.find_run(name))
    words = opened.run.command[1:]
    if words[:1] != ["run"]:
        msg = f"{opened.run.run} is no run of cases, but: {' '.join(opened.run.command)}"
        raise UserError(msg)
    recorded = run.make_context("run", words[1:], resilient_parsing=True).params
    return opened, {key: recorded[key] for key in chosen}


def _keep(machine: Any) -> None:
    """Leave a guest to whoever started this until they have seen enough."""
    echo(f"guest     {shlex.join(machine.shell_command())}", err=True)
    echo("          ends with Enter, or Ctrl-D", err=True)
    sys.stdin.readline()


@click.command()
@click.argument("objects", nargs=-1, required=True, metavar="OBJ...")
@KERNEL
@click.option(
    "--mechanism", "mechanisms", multiple=True, metavar="M", help="Repeatable.  [default: duplicate]"
)
@click.option("--lib", "library", metavar="OBJECT", help="With fd_name: what is loaded before, and called.")
@click.option(
    "--target", metavar="OBJECT", help="What is loaded before, and whose functions freplace programs replace."
)
@click.option(
    "-G", "globals_", multiple=True, metavar="NAME=VALUE", help="Value of a global variable. Repeatable."
)
@click.option(
    "--as-is", is_flag=True, help="No fix-ups: map sizes, pinning and optional programs as in the object."
)
@click.option(
    "--timeout",
    type=click.FloatRange(0, min_open=True),
    metavar="S",
    help="Seconds for an object under KVM, four times as long under emulation.  [default: 30]",
)
@JOBS
@ACCEL
@JSON
def load(
    objects: tuple[str, ...],
    kernels: tuple[str, ...],
    guests: int | None,
    accel: str,
    as_json: bool,
    **how: Any,
) -> None:
    """Load your own .bpf.o or .bpf.c files, or all in a directory: verdict, log, xlated and JIT code of every
    program."""
    from bpfroots.jobs import run as job
    from bpfroots.jobs.objects import object_cells
    from bpfroots.report import loads

    result = job.run(
        kernels or ("baseline",),
        object_cells([Path(name) for name in objects], _loading(how)),
        accel=accel,
        label="load",
        command=["bpfroots", *sys.argv[1:]],
        progress=Progress(),
        guests=guests,
    )
    if as_json:
        infos = result.store.run.kernels
        print_json(
            {
                "run": result.store.run.run,
                "path": str(result.store.path),
                "kernel": ",".join(info.name for info in infos),
                "mechanism": ",".join(dict.fromkeys(cell.mechanism for cell in result.cells)),
                "counts": result.counts,
                "cells": result.cells,
            }
        )
    else:
        loads.print_loads(result.cells, result.store.path)
        echo(f"report  {result.store.path / 'report' / 'index.html'}")
    _print_failed(result)
    sys.exit(result.exit_code)


def _loading(how: dict[str, Any]) -> Any:
    """Raises UserError for an option that makes no sense."""
    from bpfroots.jobs.objects import Loading
    from bpfroots.jobs.spec import TIMEOUT_S
    from bpfroots.programs import cases

    values = {}
    for text in how["globals_"]:
        name, equals, value = (part.strip() for part in text.partition("="))
        if not name or not equals or not value:
            msg = f"-G {text}: not NAME=VALUE"
            raise UserError(msg, hint="-G sampling_rate=100")
        values[name] = value
    library, target = (Path(how[name]) if how[name] else None for name in ("library", "target"))
    return Loading(
        list(dict.fromkeys(cases.mechanisms(how["mechanisms"] or ["duplicate"]))),
        library,
        target,
        values,
        not how["as_is"],
        how["timeout"] or TIMEOUT_S,
    )


def _finish(result: Any, as_json: bool, with_comparison: bool) -> None:
    """Print what a run found, and end with its exit code."""
    from bpfroots.report import overview

    store = result.store
    if as_json:
        print_json(
            {"run": store.run.run, "path": str(store.path), "counts": result.counts, "cells": result.cells}
        )
    else:
        overview.print_run(result.cells, store.path)
        if with_comparison:
            print_comparison(result.cells)
        echo(f"report  {store.path / 'report' / 'index.html'}")
    _print_failed(result)
    sys.exit(result.exit_code)


def _print_failed(result: Any) -> None:
    for error in result.failed:
        echo(f"bpfroots: {error.render()}", err=True)
