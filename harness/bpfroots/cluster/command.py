"""bpfroots worker: this machine's guests for runs of others."""

from __future__ import annotations

import click

from bpfroots.cli.options import JOBS
from bpfroots.progress import Progress


@click.command()
@click.argument("address")
@JOBS
def worker(address: str, guests: int | None) -> None:
    """Run cells for `bpfroots run --scheduler ADDRESS`, until interrupted."""
    from bpfroots import cluster

    cluster.require()
    from bpfroots.cluster.worker import serve

    serve(address, guests, Progress())
