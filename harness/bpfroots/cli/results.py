"""bpfroots compare, report: what a finished run says."""

from __future__ import annotations

import click

from bpfroots.cli import complete
from bpfroots.cli.options import JSON, echo, print_comparison, print_json
from bpfroots.errors import UserError


@click.command()
@click.argument("runs", nargs=-1, metavar="[RUN [RUN]]", shell_complete=complete.runs)
@click.option("--all", "everything", is_flag=True, help="Every cell, also where there are many.")
@JSON
def compare(runs: tuple[str, ...], everything: bool, as_json: bool) -> None:
    """Compare the mechanisms of a run, or two runs.

    Of one run (the newest by default) everything is compared with tail_call.
    """
    from bpfroots.analysis.changes import changes
    from bpfroots.analysis.compare import compare
    from bpfroots.analysis.kernels import other_kernels
    from bpfroots.report import terminal
    from bpfroots.results import store

    if len(runs) > 2:
        msg = "compare takes at most two runs"
        raise UserError(msg)
    opened = [store.RunStore.open(store.find_run(name)) for name in runs or (None,)]
    if len(opened) == 2:
        changed = changes(opened[0].cells(), opened[1].cells())
        changed.kernels = other_kernels(opened[0].run, opened[1].run)
        print_json(changed) if as_json else terminal.print_changes(changed, terminal.console())
        return
    if as_json:
        print_json(compare(opened[0].cells()))
    else:
        print_comparison(opened[0].cells(), everything=everything)


@click.command("report")
@click.argument("run_name", required=False, metavar="[RUN]", shell_complete=complete.runs)
@click.option("--open", "open_it", is_flag=True, help="Open it in a browser.")
def write_report(run_name: str | None, open_it: bool) -> None:
    """Write the reports of a run again: HTML, JUnit, KTAP, veristat CSV."""
    from bpfroots.history.record import beside_cells
    from bpfroots.report import html
    from bpfroots.results import store

    opened = store.RunStore.open(store.find_run(run_name))
    if opened.run.kind == "ab":
        from bpfroots.ab import page

        index = page.again(opened)
    else:
        index = html.write_reports(opened.path, opened.run, opened.cells(), beside_cells(opened))
    echo(str(index))
    if open_it:
        click.launch(str(index))
