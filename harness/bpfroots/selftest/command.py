"""bpfroots selftest: the kernel tree's own tests on several kernels."""

from __future__ import annotations

import re
import sys
from typing import Any

import click

from bpfroots.cli.options import ACCEL, JSON, KERNEL, echo, print_json
from bpfroots.errors import UserError
from bpfroots.progress import Progress


@click.command()
@click.argument("name", type=click.Choice(["test_verifier"]))
@KERNEL
@click.option("--tests", "numbers", metavar="N[-M]", help="Only these, by number.")
@click.option("--logs", is_flag=True, help="Print and compare the verifier's log of every test (-v).")
@click.option("--testmod/--no-testmod", default=True, help="Build and load bpf_testmod.  [default: on]")
@ACCEL
@JSON
def selftest(
    name: str,  # noqa: ARG001  (there is one)
    kernels: tuple[str, ...],
    numbers: str | None,
    logs: bool,
    testmod: bool,
    accel: str,
    as_json: bool,
) -> None:
    """Run the kernel tree's own verifier tests.

    With several kernels, each is compared with the first one.
    """
    from bpfroots.report import terminal
    from bpfroots.selftest import run as job
    from bpfroots.selftest import terminal as selftests

    result = job.run(
        kernels or ("baseline",),
        accel=accel,
        command=["bpfroots", *sys.argv[1:]],
        progress=Progress(),
        tests=_range(numbers),
        logs=logs,
        testmod=testmod,
    )
    if as_json:
        print_json(_json(result))
    else:
        selftests.print_selftests(result.ran, result.differences(), terminal.console())
        echo(f"results {result.store.path / 'selftests'}")
    for error in result.failed:
        echo(f"bpfroots: {error.render()}", err=True)
    sys.exit(result.exit_code)


def _range(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    match = re.fullmatch(r"(\d+)(?:-(\d+))?", text)
    if match is None or int(match[2] or match[1]) < int(match[1]):
        msg = f"--tests {text}: not a number or a range of them"
        raise UserError(msg, hint="--tests 100-119")
    return int(match[1]), int(match[2] or match[1])


def _json(result: Any) -> dict[str, Any]:
    store = result.store
    kernels = [
        {
            "kernel": ran.kernel,
            "passed": ran.output.count("ok"),
            "skipped": ran.output.count("skip"),
            "failed": ran.output.count("fail"),
            "failing": [f"{test.id} {test.name}" for test in ran.output.tests if test.status == "fail"],
            "seconds": ran.seconds,
            "log": ran.log,
            "results": ran.results,
            "error": ran.error,
        }
        for ran in result.ran
    ]
    return {
        "run": store.run.run,
        "path": str(store.path),
        "testmod": result.testmod,
        "kernels": kernels,
        "differences": result.differences(),
    }
