"""The command line. Data goes to stdout, everything else to stderr; exit codes are docs/reference.md's."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from harness import __version__
from harness.errors import BpfrootsError, UserError
from harness.progress import Progress

_JSON = click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
_ACCEL = click.option(
    "--accel",
    type=click.Choice(["auto", "kvm", "tcg"]),
    default="auto",
    show_default=True,
    help="auto uses KVM only where it really runs a guest.",
)
_KERNEL = click.option(
    "--kernel",
    "kernels",
    multiple=True,
    metavar="K",
    help="A name in kernels/, a source tree, a build directory, a bzImage, or TREE@REV. Repeatable.",
)
_MECHANISM = click.option(
    "--mechanism", "mechanisms", multiple=True, metavar="M", help="Repeatable; default: all."
)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="bpfroots")
def cli() -> None:
    """Boots kernels in VMs and compares how BPF programs share code."""


def _print_json(data: Any) -> None:
    import msgspec

    sys.stdout.buffer.write(msgspec.json.encode(data) + b"\n")


@cli.command()
@_JSON
def doctor(as_json: bool) -> None:
    """Can this machine run? Accelerator, tools, caches, disk."""
    from harness.jobs import doctor as job
    from harness.report import overview

    result = job.examine()
    if as_json:
        _print_json(result)
    else:
        overview.print_checks(result.ok, [(c.name, c.ok, c.detail, c.fix) for c in result.checks])
    sys.exit(0 if result.ok else 4)


@cli.command()
@click.option("--yes", is_flag=True, help="Do not ask.")
def setup(yes: bool) -> None:
    """Install missing system packages with apt-get."""
    from harness import system
    from harness.settings import cache_root

    system.install(Progress(), cache_root() / "setup.log", yes=yes)


@cli.group()
def kernel() -> None:
    """Kernels: what is defined, what is built."""


@kernel.command("list")
@_JSON
def kernel_list(as_json: bool) -> None:
    """The definitions in kernels/."""
    from harness import kernels

    found = kernels.definitions()
    if as_json:
        _print_json([{"name": d.name, "base": d.base, "provides": list(d.provides)} for d in found])
        return
    for definition in found:
        extra = f"  (on {definition.base})" if definition.base else ""
        click.echo(f"{definition.name}{extra}")


@kernel.command("show")
@click.argument("kernel_name", metavar="K")
@_JSON
def kernel_show(kernel_name: str, as_json: bool) -> None:
    """How K is, or would be, built."""
    from harness import kernels

    request = kernels.resolve(kernel_name)
    facts = {**_builtin(request), "built": kernels.is_built(request)}
    if as_json:
        _print_json(facts)
        return
    for key, value in facts.items():
        click.echo(f"{key:12} {value}")


@kernel.command("build")
@click.argument("kernel_name", metavar="K")
@click.option("--force", is_flag=True, help="Build although the cache has it.")
@_JSON
def kernel_build(kernel_name: str, force: bool, as_json: bool) -> None:
    """Build K, or take it from the cache."""
    from harness import kernels
    from harness.jobs.run import describe

    built = kernels.ensure(kernels.resolve(kernel_name), Progress(), force=force)
    if as_json:
        _print_json({**_builtin(describe(built)), "bzimage": str(built.bzimage)})
    else:
        click.echo(f"{built.name}  {built.release}  {built.bzimage}")


@kernel.command("check-series")
@click.argument("kernel_name", metavar="K")
@_JSON
def kernel_check_series(kernel_name: str, as_json: bool) -> None:
    """Does every patch of K's series apply without fuzz and pass checkpatch --strict?"""
    from harness import kernels
    from harness.kernels import check

    request = kernels.resolve(kernel_name)
    if isinstance(request, kernels.Prebuilt):
        msg = f"{kernel_name} is built already; only a definition has a series"
        raise UserError(msg, hint="bpfroots kernel list")
    checked = check.check(request, Progress())
    if as_json:
        _print_json([{"patch": c.patch, "ok": c.ok, "complaints": c.complaints} for c in checked])
    else:
        for found in checked:
            click.echo(f"{'ok   ' if found.ok else 'not ok'} {found.patch}")
            if found.complaints:
                click.echo("\n".join(f"       {line}" for line in found.complaints.splitlines()))
    sys.exit(0 if all(found.ok for found in checked) else 3)


def _builtin(struct: Any) -> dict[str, Any]:
    import msgspec

    result: dict[str, Any] = msgspec.to_builtins(struct, enc_hook=str)
    return result


@cli.command("cases")
@click.option("-k", "expression", metavar="EXPR", help="Words joined by and, or, not.")
@_JSON
def list_cases(expression: str | None, as_json: bool) -> None:
    """What there is to run, and what is expected of each."""
    from harness.programs import cases
    from harness.report import overview

    chosen = [case.describe() for case in cases.select(expression)]
    if as_json:
        _print_json(chosen)
    else:
        overview.print_cases(chosen)


@cli.command()
@_KERNEL
@_MECHANISM
@click.option("-k", "expression", metavar="EXPR", help="Cases by name: words joined by and, or, not.")
@click.option("--compare", "with_comparison", is_flag=True, help="Print the comparison at the end.")
@_ACCEL
@_JSON
def run(
    kernels: tuple[str, ...],
    mechanisms: tuple[str, ...],
    expression: str | None,
    with_comparison: bool,
    accel: str,
    as_json: bool,
) -> None:
    """Run cases; results go to a folder under results/."""
    from harness.jobs import run as job
    from harness.jobs.spec import case_cells
    from harness.programs import cases

    specs = case_cells(cases.select(expression), cases.mechanisms(mechanisms))
    label = "compare" if with_comparison else "run"
    result = job.run(
        kernels or ("baseline",),
        specs,
        accel=accel,
        label=label,
        command=["bpfroots", *sys.argv[1:]],
        progress=Progress(),
    )
    _finish(result, as_json, with_comparison)


@cli.command()
@click.argument("objects", nargs=-1, required=True, metavar="OBJ...")
@_KERNEL
@click.option("--mechanism", default="duplicate", show_default=True, metavar="M")
@_ACCEL
@_JSON
def load(
    objects: tuple[str, ...], kernels: tuple[str, ...], mechanism: str, accel: str, as_json: bool
) -> None:
    """Load your own .bpf.o or .bpf.c: verdict, log, xlated, JIT for every program."""
    from harness.jobs import run as job
    from harness.jobs.spec import object_cells
    from harness.programs import cases

    specs = object_cells([Path(name) for name in objects], cases.mechanisms([mechanism])[0])
    result = job.run(
        kernels or ("baseline",),
        specs,
        accel=accel,
        label="load",
        command=["bpfroots", *sys.argv[1:]],
        progress=Progress(),
    )
    if as_json:
        names = ",".join(info.name for info in result.store.run.kernels)
        _print_json({"kernel": names, "mechanism": mechanism, "cells": result.cells})
        _print_failed(result)
        sys.exit(result.exit_code)
    _finish(result, as_json=False, with_comparison=False)


def _finish(result: Any, as_json: bool, with_comparison: bool) -> None:
    """Print what a run found, and end with its exit code."""
    from harness.report import overview

    store = result.store
    if as_json:
        _print_json(
            {"run": store.run.run, "path": str(store.path), "counts": result.counts, "cells": result.cells}
        )
    else:
        overview.print_run(result.cells, store.path)
        if with_comparison:
            _print_comparison(result.cells)
        click.echo(f"report  {store.path / 'report' / 'index.html'}")
    _print_failed(result)
    sys.exit(result.exit_code)


def _print_comparison(cells: Any) -> None:
    from harness.analysis.compare import compare as comparison
    from harness.report import terminal

    compared, out = comparison(cells), terminal.console()
    terminal.print_table(compared, out)
    terminal.print_headline(compared, out)


def _print_failed(result: Any) -> None:
    for error in result.failed:
        click.echo(f"bpfroots: {error.render()}", err=True)


@cli.command()
@click.argument("runs", nargs=-1, metavar="[RUN [RUN]]")
@_JSON
def compare(runs: tuple[str, ...], as_json: bool) -> None:
    """Everything against tail_call; with two runs, what changed between them."""
    from harness.analysis import compare as analysis
    from harness.report import terminal
    from harness.results import store

    if len(runs) > 2:
        msg = "compare takes at most two runs"
        raise UserError(msg)
    opened = [store.RunStore.open(store.find_run(name)) for name in runs or (None,)]
    if len(opened) == 2:
        changed = analysis.changes(opened[0].cells(), opened[1].cells())
        _print_json(changed) if as_json else terminal.print_changes(changed, terminal.console())
        return
    if as_json:
        _print_json(analysis.compare(opened[0].cells()))
    else:
        _print_comparison(opened[0].cells())


@cli.command("report")
@click.argument("run_name", required=False, metavar="RUN")
@click.option("--open", "open_it", is_flag=True, help="Open it in a browser.")
def write_report(run_name: str | None, open_it: bool) -> None:
    """Write HTML, JUnit, KTAP and veristat CSV of a run again."""
    from harness import report
    from harness.results import store

    opened = store.RunStore.open(store.find_run(run_name))
    index = report.write_reports(opened.path, opened.run, opened.cells())
    click.echo(str(index))
    if open_it:
        click.launch(str(index))


@contextlib.contextmanager
def _errors_as_text() -> Iterator[None]:
    """No traceback reaches the user; BPFROOTS_DEBUG=1 lets it through."""
    try:
        yield
    except BpfrootsError as error:
        if os.environ.get("BPFROOTS_DEBUG"):
            raise
        click.echo(f"bpfroots: {error.render()}", err=True)
        sys.exit(error.exit_code)
    except click.exceptions.Abort:
        _interrupted()
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        _interrupted()
    except BrokenPipeError:
        # The reader of our stdout has seen enough (head, less).
        sys.stdout = None
        sys.exit(141)
    except OSError as error:
        if os.environ.get("BPFROOTS_DEBUG"):
            raise
        click.echo(f"bpfroots: {error.filename or 'system'}: {error.strerror or error}", err=True)
        sys.exit(4)


def _interrupted() -> None:
    click.echo("bpfroots: interrupted; finished cells are kept in the newest folder of results/", err=True)
    sys.exit(130)


def _on_term(*_: object) -> None:
    raise KeyboardInterrupt


def main() -> None:
    """Entry point of `bpfroots` and `python -m harness`."""
    # A terminated run unwinds like an interrupted one: guests end, cells stay.
    signal.signal(signal.SIGTERM, _on_term)
    with _errors_as_text():
        cli.main(standalone_mode=False)
