"""bpfroots cases, run, load: what there is to run, and running it."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bpfroots.cli import complete
from bpfroots.cli.options import (
    ACCEL,
    FULL,
    INCLUDE,
    JOBS,
    JSON,
    KEEP_GUEST,
    KERNEL,
    MECHANISM,
    SCHEDULER,
    directories,
    echo,
    global_values,
    print_comparison,
    print_json,
    refuse_more,
)
from bpfroots.errors import UserError
from bpfroots.programs.protocol import MECHANISMS
from bpfroots.progress import Progress

if TYPE_CHECKING:
    from bpfroots.jobs.run import Run
    from bpfroots.machine import Machine
    from bpfroots.results.request import Objects, Request
    from bpfroots.results.store import RunStore


@click.command("cases")
@click.option(
    "-k",
    "expression",
    metavar="EXPR",
    shell_complete=complete.cases,
    help="Cases by name: words joined by and, or, not.",
)
@FULL
@JSON
def list_cases(expression: str | None, full: bool, as_json: bool) -> None:
    """List the cases, and what is expected of each."""
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
@click.option(
    "-k",
    "expression",
    metavar="EXPR",
    shell_complete=complete.cases,
    help="Cases by name: words joined by and, or, not.",
)
@FULL
@click.option("--compare", "with_comparison", is_flag=True, help="Print the comparison at the end.")
@click.option(
    "--cost/--no-cost",
    "with_cost",
    default=None,
    help="Measure instructions per run in machines that count them.  [default: with --compare]",
)
@click.option(
    "--reuse/--no-reuse",
    "with_reuse",
    default=None,
    help="Take cells from earlier runs where nothing has changed since.  [default: with --compare]",
)
@JOBS
@click.option(
    "--resume",
    metavar="RUN",
    shell_complete=complete.runs,
    help="Run what an interrupted run has not done, with its own options.",
)
@KEEP_GUEST
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
    """Run cases, on one kernel or several."""
    from bpfroots import cluster
    from bpfroots.jobs import run as job

    if scheduler and keep_guest:
        msg = "--keep-guest needs a guest on this machine, and --scheduler uses other machines"
        raise UserError(msg, hint="one of the two")
    store = None
    if resume:
        store, request = _recorded(resume, chosen)
    else:
        request = _request(chosen, guests)
    with cluster.connect(scheduler) as executor:
        options = job.RunOptions(["bpfroots", *sys.argv[1:]], _keep if keep_guest else None, executor)
        with job.opened(request, Progress(), options, store) as opened:
            opened.run()
    _finish(opened, as_json)


def _request(chosen: dict[str, Any], guests: int | None) -> Request:
    """Raises UserError for a mechanism that there is not."""
    from bpfroots.programs import cases
    from bpfroots.results.request import Cases, Request

    comparison = chosen["with_comparison"]
    with_cost, with_reuse = (chosen[f"with_{name}"] for name in ("cost", "reuse"))
    mechanisms = tuple(cases.mechanisms(chosen["mechanisms"]))
    return Request(
        kernels=tuple(chosen["kernels"]) or ("baseline",),
        what=Cases(chosen["expression"] or "", mechanisms, chosen["full"]),
        kind="compare" if comparison else "run",
        accel=chosen["accel"],
        guests=guests,
        cost=comparison if with_cost is None else with_cost,
        reuse=comparison if with_reuse is None else with_reuse,
    )


def _recorded(name: str, chosen: dict[str, Any]) -> tuple[RunStore, Request]:
    """The folder of a run, and what it was asked for. Raises UserError where that was no run of cells."""
    from bpfroots.results import store

    refuse_more("run", name, chosen)
    opened = store.RunStore.open(store.find_run(name))
    request = opened.run.request
    if request is None or request.kind not in ("run", "compare", "load"):
        msg = f"{opened.run.run} is not a run of cases or objects: {' '.join(opened.run.command)}"
        raise UserError(msg)
    return opened, request


def _keep(machine: Machine) -> None:
    """Leave a guest to whoever started this until they have seen enough."""
    echo(f"guest     {shlex.join(machine.shell_command())}", err=True)
    echo("          ends with Enter, or Ctrl-D", err=True)
    sys.stdin.readline()


@click.command()
@click.argument("objects", nargs=-1, required=True, metavar="OBJ...")
@KERNEL
@click.option(
    "--mechanism",
    "mechanisms",
    multiple=True,
    type=click.Choice(MECHANISMS),
    help="Repeatable.  [default: duplicate]",
)
@click.option("--lib", "library", metavar="OBJECT", help="With fd_name: what is loaded before, and called.")
@click.option(
    "--target", metavar="OBJECT", help="What is loaded before, and whose functions freplace programs replace."
)
@INCLUDE
@click.option(
    "-G", "globals_", multiple=True, metavar="NAME=VALUE", help="Value of a global variable. Repeatable."
)
@click.option(
    "--as-is", is_flag=True, help="No fix-ups: map sizes, pinning and optional programs as in the object."
)
@click.option(
    "--expect",
    metavar="FILE",
    help="Programs that need not be accepted, by kernel: see the reference. Exit code 1 for all others.",
)
@click.option(
    "--timeout",
    type=click.FloatRange(0, min_open=True),
    metavar="S",
    help="Seconds for an object under KVM, four times as long under emulation.  [default: 30]",
)
@JOBS
@KEEP_GUEST
@ACCEL
@JSON
def load(
    objects: tuple[str, ...],
    kernels: tuple[str, ...],
    guests: int | None,
    keep_guest: bool,
    accel: str,
    as_json: bool,
    **how: Any,
) -> None:
    """Load your own .bpf.o and .bpf.c files: every program's verdict.

    Directories are searched for both. Each program's verdict, log, translated and JIT code are in the report.
    """
    from bpfroots.jobs import run as job
    from bpfroots.results.request import Request

    what = _objects(objects, how)
    request = Request(tuple(kernels) or ("baseline",), what, "load", accel, guests)
    options = job.RunOptions(["bpfroots", *sys.argv[1:]], _keep if keep_guest else None)
    with job.opened(request, Progress(), options) as opened:
        opened.run()
    _finish(opened, as_json)


def _objects(paths: tuple[str, ...], how: dict[str, Any]) -> Objects:
    """Raises UserError for an option that makes no sense."""
    from bpfroots.jobs.objects import absolute
    from bpfroots.programs import cases
    from bpfroots.results.request import TIMEOUT_S, Objects

    library, target = (str(absolute(Path(how[n]))) if how[n] else "" for n in ("library", "target"))
    return Objects(
        tuple(str(absolute(Path(path))) for path in paths),
        tuple(dict.fromkeys(cases.mechanisms(how["mechanisms"] or ["duplicate"]))),
        library,
        target,
        global_values(how["globals_"]),
        not how["as_is"],
        how["timeout"] or TIMEOUT_S,
        str(absolute(Path(how["expect"]))) if how["expect"] else "",
        include=directories(how["include"]),
    )


def _finish(opened: Run, as_json: bool) -> None:
    """Print what a run found, and end with its exit code."""
    from bpfroots.report import loads, overview

    store, kind = opened.store, opened.request.kind
    if as_json:
        document = {"run": store.run.run, "path": str(store.path), "counts": opened.counts}
        if kind == "load":
            document["kernel"] = ",".join(info.name for info in store.run.kernels)
            document["mechanism"] = ",".join(dict.fromkeys(cell.mechanism for cell in opened.cells))
        print_json({**document, "cells": opened.cells})
    elif kind == "load":
        loads.print_loads(opened.cells, store.path)
    else:
        overview.print_run(opened.cells, store.path)
        if kind == "compare":
            print_comparison(opened.cells)
    if not as_json:
        echo(f"report  {store.path / 'report' / 'index.html'}")
    _print_failed(opened)
    sys.exit(opened.exit_code)


def _print_failed(opened: Run) -> None:
    for error in opened.failed:
        echo(f"bpfroots: {error.render()}", err=True)
