"""The tests of a kernel's tree: `bpfroots selftest test_progs` against one guest, as its vmtest.sh has it."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from bpfroots import process
from bpfroots.bench import vmtest
from bpfroots.bench.common import Bench, ours, take_turns
from bpfroots.bench.model import SECONDS, Measurement, measurement
from bpfroots.errors import InfraError
from bpfroots.results.model import BAD
from bpfroots.results.request import Selftests
from bpfroots.results.selftests import TEST_PROGS, Tested
from bpfroots.selftest import progs_run
from bpfroots.selftest.progs_select import Selection

_DEADLINE = 4 * 3600.0


class _OnKernel(msgspec.Struct):
    tests: list[Tested]


class _Document(msgspec.Struct):
    """What is wanted of the document of `selftest --json`."""

    kernels: list[_OnKernel]


def measure(bench: Bench, runs: int, tests: Sequence[str] = ()) -> Measurement:
    """selftest, of all tests but those in the tree's DENYLIST, or of ``tests``; everything is built before.

    Raises UserError for a test that there is not, what building raises, and InfraError where either side does
    not come to its end.
    """
    request = Selftests(TEST_PROGS, (bench.argument,), tuple(tests))
    ((site, selection),) = progs_run.prepare_sites(request, bench.progress)
    command = f"./{TEST_PROGS}{_options(selection, tests)}"
    found: list[list[Tested]] = []
    peers: list[vmtest.Ran] = []

    def peer() -> float:
        log = process.temporary_directory() / "vmtest.log"
        with vmtest.disk(site.image.path, command) as disk:
            peers.append(vmtest.run(site.kernel, disk, bench.accel, site.shape, log))
        return peers[-1].seconds

    with bench.progress.task(f"bench     selftest {site.kernel.name}", "runs") as task:
        context = bench.context(site.kernel)
        sides = [lambda: _ours(bench, tests, found), peer]
        samples = take_turns(runs, sides, lambda done: task.update(done, runs))
    return measurement(
        samples[0],
        samples[1],
        unit=SECONDS,
        what=(
            f"bpfroots selftest {TEST_PROGS} --kernel {bench.argument}, everything built: "
            f"of {len(found[0])} tests {_failed(found[0])}, from its start to its reports; the peer's is one "
            f"guest of that shape, from QEMU's start to its end: of "
            f"{peers[0].not_failed + peers[0].failed} tests {peers[0].failed} fail"
        ),
        context=context,
        name="one guest, as vmtest.sh starts it",
        command=command,
    )


def _options(selection: Selection, tests: Sequence[str]) -> str:
    """Of test_progs, for what ours runs."""
    if tests:
        return f" -a {','.join(selection.to_run)}"
    denied = [*selection.denied, *selection.denied_subtests]
    return f" -d '{','.join(denied)}'" if denied else ""


def _failed(tests: Sequence[Tested]) -> str:
    """How many fail, and which."""
    names = [test.name for test in tests if test.outcome in BAD]
    return f"{len(names)} fail" + (f" ({', '.join(names)})" if names else "")


def _ours(bench: Bench, tests: Sequence[str], found: list[list[Tested]]) -> float:
    """`bpfroots selftest`; ``found`` gets the tests."""
    chosen = [word for name in tests for word in ("-t", name)]
    words = ["selftest", TEST_PROGS, "--kernel", bench.argument, *chosen]
    seconds, document = ours(bench, words, _Document, deadline=_DEADLINE)
    found.append(document.kernels[0].tests)
    if not found[-1]:
        msg = "bpfroots selftest: no test was run"
        raise InfraError(msg)
    return seconds
