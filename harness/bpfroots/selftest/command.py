"""bpfroots selftest: the kernel tree's own tests on several kernels."""

from __future__ import annotations

import re
import sys
from typing import Any

import click

from bpfroots.cli.options import ACCEL, JOBS, JSON, KERNEL, echo, print_json, refuse_more
from bpfroots.errors import UserError
from bpfroots.progress import Progress

_TIMEOUT_S = 120


@click.command()
@click.argument("name", type=click.Choice(["test_progs", "test_maps", "test_verifier"]))
@KERNEL
@click.option(
    "-t",
    "tests",
    multiple=True,
    metavar="TEST[/SUBTEST]",
    help="test_progs: only these; * stands for any text. Repeatable.",
)
@click.option(
    "--allow",
    multiple=True,
    type=click.Path(exists=True, resolve_path=True),
    metavar="PATH",
    help="test_progs: only what this ALLOWLIST has, or those in this directory. Repeatable.",
)
@click.option(
    "--deny",
    multiple=True,
    type=click.Path(exists=True, resolve_path=True),
    metavar="PATH",
    help="test_progs: nothing that this DENYLIST has, or those in this directory. Repeatable.",
)
@click.option(
    "--splat-allow",
    multiple=True,
    type=click.Path(exists=True, resolve_path=True),
    metavar="PATH",
    help="test_progs, test_maps: splats that a line of this SPLAT_ALLOWLIST matches, or of the one in this"
    " directory, are no failure. Repeatable.",
)
@click.option(
    "--timeout",
    type=click.IntRange(1),
    default=_TIMEOUT_S,
    show_default=True,
    metavar="S",
    help="test_progs: seconds for a test or subtest under KVM; four times as long under emulation. test_maps:"
    " the same for its silence.",
)
@click.option(
    "--as-is",
    is_flag=True,
    help="test_progs, test_maps: on kernels as they are defined, without the configuration for their tests.",
)
@click.option(
    "--resume", metavar="RUN", help="test_progs, test_maps: run what is missing of an interrupted run."
)
@JOBS
@click.option("--tests", "numbers", metavar="N[-M]", help="test_verifier: only these, by number.")
@click.option("--logs", is_flag=True, help="test_verifier: print and compare every test's log (-v).")
@click.option(
    "--testmod/--no-testmod",
    default=True,
    help="test_verifier: build and load bpf_testmod.  [default: on]",
)
@ACCEL
@JSON
def selftest(name: str, as_json: bool, **options: Any) -> None:
    """Run the kernel tree's own tests: one of three programs.

    With several kernels, each is compared with the first one.
    """
    _refuse_others(name)
    if name == "test_verifier":
        _test_verifier(as_json, options)
    else:
        _of_own_tree(name, as_json, options)


# What not all of the programs take.
_OF = {
    "test_progs": ("tests", "allow", "deny", "splat_allow", "timeout", "as_is", "resume", "guests"),
    "test_maps": ("splat_allow", "timeout", "as_is", "resume"),
    "test_verifier": ("numbers", "logs", "testmod"),
}


def _refuse_others(name: str) -> None:
    """Raises UserError for an option of another program."""
    context = click.get_current_context()
    given = click.core.ParameterSource.COMMANDLINE
    options = {param.name: max(param.opts, key=len) for param in context.command.params}
    for one in dict.fromkeys(one for names in _OF.values() for one in names):
        if one not in _OF[name] and context.get_parameter_source(one) is given:
            programs = " and ".join(program for program, names in _OF.items() if one in names)
            msg = f"{options[one]} is an option for {programs}"
            raise UserError(msg, hint="bpfroots selftest --help")


def _of_own_tree(program: str, as_json: bool, options: dict[str, Any]) -> None:
    """test_progs or test_maps: each kernel's tree has its own."""
    from bpfroots.report import terminal
    from bpfroots.results.request import Selftests
    from bpfroots.results.store import RunStore, find_run
    from bpfroots.selftest import progs_run, progs_terminal

    if options["resume"]:
        refuse_more(
            f"selftest {program}",
            options["resume"],
            ("kernels", "tests", "allow", "deny", "splat_allow", "timeout", "as_is", "guests", "accel"),
        )
        result = progs_run.resume(program, RunStore.open(find_run(options["resume"])), Progress())
    else:
        request = Selftests(
            program,
            options["kernels"] or ("baseline",),
            options["tests"],
            options["accel"],
            options["guests"],
            options["timeout"],
            options["as_is"],
            options["allow"],
            options["deny"],
            options["splat_allow"],
        )
        result = progs_run.run(request, ["bpfroots", *sys.argv[1:]], Progress())
    if as_json:
        print_json(
            {
                "run": result.store.run.run,
                "path": str(result.store.path),
                "kernels": [{"kernel": kernel, "tests": tests} for kernel, tests in result.tests.items()],
                "changes": result.changes(),
            }
        )
    else:
        progs_terminal.print_run(result, terminal.console())
        echo(f"results {result.store.path / 'selftests'}")
    for error in result.failed:
        echo(f"bpfroots: {error.render()}", err=True)
    sys.exit(result.exit_code)


def _test_verifier(as_json: bool, options: dict[str, Any]) -> None:
    from bpfroots.report import terminal
    from bpfroots.selftest import run as job
    from bpfroots.selftest import terminal as selftests

    result = job.run(
        options["kernels"] or ("baseline",),
        accel=options["accel"],
        command=["bpfroots", *sys.argv[1:]],
        progress=Progress(),
        tests=_range(options["numbers"]),
        logs=options["logs"],
        testmod=options["testmod"],
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
