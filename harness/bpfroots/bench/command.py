"""bpfroots bench: how long things take here, beside what others do them with."""

from __future__ import annotations

import click

from bpfroots.cli.options import ACCEL, JSON, print_json
from bpfroots.progress import Progress


@click.command()
@click.argument("names", nargs=-1, metavar="[NAME...]")
@click.option("--kernel", metavar="K", help="As for load.  [default: patched]")
@click.option(
    "--runs",
    type=click.IntRange(1),
    metavar="N",
    help="Samples of each.  [default: 10; build, ab, selftest: 1]",
)
@click.option("--show", is_flag=True, help="Measure nothing: print the newest results.")
@ACCEL
@JSON
def bench(
    names: tuple[str, ...], kernel: str | None, runs: int | None, show: bool, accel: str, as_json: bool
) -> None:
    """Measure how long things take, beside other tools.

    Names: clone_ssh, clone_serial (clone: both), load, throughput, build, ab, selftest.

    All by default but build, ab and selftest, which take minutes. Every run is kept in results/bench/.
    """
    from bpfroots import bench as job
    from bpfroots.bench import model as results
    from bpfroots.bench import page
    from bpfroots.bench import table as report
    from bpfroots.settings import results_root

    folder = results_root()
    chosen = job.choose(names)
    if show:
        known = results.newest(folder)
        found = {name: known[name] for name in (chosen if names else job.NAMES) if name in known}
    else:
        progress = Progress()
        found = job.run(chosen, kernel=kernel or job.KERNEL, accel=accel, runs=runs, progress=progress)
        progress.say(f"results   {results.save(folder, found)}")
        progress.say(f"report    {page.write(folder)}")
    if as_json:
        print_json(found)
    else:
        report.print_bench(found)
