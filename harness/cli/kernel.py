"""bpfroots kernel ...: definitions, builds, series."""

from __future__ import annotations

import sys

import click

from harness.cli.options import JSON, builtin, print_json
from harness.errors import UserError
from harness.progress import Progress


@click.group()
def kernel() -> None:
    """Kernels: what is defined, what is built."""


@kernel.command("list")
@JSON
def kernel_list(as_json: bool) -> None:
    """The definitions in kernels/."""
    from harness import kernels

    found = kernels.definitions()
    if as_json:
        print_json([{"name": d.name, "base": d.base, "provides": list(d.provides)} for d in found])
        return
    for definition in found:
        extra = f"  (on {definition.base})" if definition.base else ""
        click.echo(f"{definition.name}{extra}")


@kernel.command("show")
@click.argument("kernel_name", metavar="K")
@JSON
def kernel_show(kernel_name: str, as_json: bool) -> None:
    """How K is, or would be, built."""
    from harness import kernels

    request = kernels.resolve(kernel_name)
    facts = {**builtin(request), "built": kernels.is_built(request)}
    if as_json:
        print_json(facts)
        return
    for key, value in facts.items():
        click.echo(f"{key:12} {value}")


@kernel.command("build")
@click.argument("kernel_name", metavar="K")
@click.option("--force", is_flag=True, help="Build although the cache has it.")
@JSON
def kernel_build(kernel_name: str, force: bool, as_json: bool) -> None:
    """Build K, or take it from the cache."""
    from harness import kernels
    from harness.jobs.run import describe

    built = kernels.ensure(kernels.resolve(kernel_name), Progress(), force=force)
    if as_json:
        print_json({**builtin(describe(built)), "bzimage": str(built.bzimage)})
    else:
        click.echo(f"{built.name}  {built.release}  {built.bzimage}")


@kernel.command("check-series")
@click.argument("kernel_name", metavar="K")
@JSON
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
        print_json([{"patch": c.patch, "ok": c.ok, "complaints": c.complaints} for c in checked])
    else:
        for found in checked:
            click.echo(f"{'ok   ' if found.ok else 'not ok'} {found.patch}")
            if found.complaints:
                click.echo("\n".join(f"       {line}" for line in found.complaints.splitlines()))
    sys.exit(0 if all(found.ok for found in checked) else 3)
