"""bpfroots doctor, setup: the machine this runs on."""

from __future__ import annotations

import sys

import click

from bpfroots.cli.options import JSON, print_json
from bpfroots.progress import Progress


@click.command()
@JSON
def doctor(as_json: bool) -> None:
    """Check accelerator, tools, caches and disk of this machine."""
    from bpfroots.jobs import doctor as job
    from bpfroots.report import overview

    result = job.examine()
    if as_json:
        print_json(result)
    else:
        overview.print_checks(result.ok, [(c.name, c.ok, c.detail, c.fix) for c in result.checks])
    sys.exit(0 if result.ok else 4)


@click.command()
@click.option("--yes", is_flag=True, help="Do not ask.")
def setup(yes: bool) -> None:
    """Install missing system packages with apt-get."""
    from bpfroots import system
    from bpfroots.settings import cache_root

    system.install(Progress(), cache_root() / "setup.log", yes=yes)
