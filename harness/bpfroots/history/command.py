"""bpfroots history: every cell of every run, what got worse since when, and what is flaky."""

from __future__ import annotations

import difflib
from typing import Any

import click

from bpfroots.cli.options import JSON, echo, print_json
from bpfroots.errors import UserError


@click.command()
@click.argument("case", required=False, metavar="[CASE]")
@click.option("--job", metavar="NAME", help="Runs of this nightly job.  [default: the one that ran last]")
@click.option(
    "--last",
    type=click.IntRange(1),
    metavar="N",
    default=20,
    show_default=True,
    help="How many runs to list.",
)
@click.option("--accept", metavar="RUN", help="What RUN found is in order: compare later nights with it.")
@click.option("--html", is_flag=True, help="Write the page of the newest night again, and print where it is.")
@JSON
def history(
    case: str | None, job: str | None, last: int, accept: str | None, html: bool, as_json: bool
) -> None:
    """Show what got worse in all runs, and since when.

    With CASE, show that case over all runs.

    Finished runs in results/ that are not in the history yet are recorded first.
    """
    from bpfroots.history.database import History
    from bpfroots.history.record import catch_up

    with History() as opened:
        catch_up(opened)
        if accept:
            opened.mark_good(accept)
        if case:
            _print_case(opened, case, as_json)
        else:
            _print_runs(opened, job, last, html, as_json)


def _print_case(opened: Any, case: str, as_json: bool) -> None:
    from bpfroots.history import terminal as report
    from bpfroots.history.record import of_case
    from bpfroots.report import terminal

    cells = of_case(opened, case, opened.path.parent)
    if not cells:
        near = difflib.get_close_matches(case, opened.cases(), 3)
        msg = f"{case}: never run"
        raise UserError(msg, hint=f"bpfroots history {near[0]}" if near else "bpfroots cases lists them")
    if as_json:
        print_json({"case": case, "cells": cells})
    else:
        report.print_case(cells, terminal.console())


def _print_runs(opened: Any, job: str | None, last: int, html: bool, as_json: bool) -> None:
    from bpfroots.history import terminal as report
    from bpfroots.history.trend import trend
    from bpfroots.report import terminal

    every = opened.runs()
    nights = [run for run in every if run.job and job in (None, run.job)]
    if job is not None and not nights:
        jobs = ", ".join(sorted({run.job for run in every if run.job})) or "none yet"
        msg = f"--job {job}: no run of that job"
        raise UserError(msg, hint=f"there is: {jobs}")
    found = trend(opened, nights[-1]) if nights else None
    if html and found:
        echo(str(_write_page(opened, nights[-1], found)))
        return
    runs = (nights if job is not None else every)[-last:]
    outcomes = opened.outcomes([run.id for run in runs])
    if as_json:
        listed = [{"run": run, "outcomes": outcomes.get(run.id, {})} for run in runs]
        print_json({"path": str(opened.path), "runs": listed, "trend": found})
        return
    out = terminal.console()
    report.print_runs(runs, outcomes, out)
    for line in ["", *report.trend_lines(found)] if found else []:
        out.print(line)


def _write_page(opened: Any, night: Any, found: Any) -> Any:
    from bpfroots.history import page
    from bpfroots.results.store import RunStore, find_run

    store = RunStore.open(find_run(night.name))
    return page.write(opened, night, found, store.path, store.cells())
