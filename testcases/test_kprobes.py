"""Kprobes that come and go under load: `pytest --kernel=K testcases/test_kprobes.py`, on 4 CPUs.

A kprobe on a function with an ftrace location rewrites ftrace's trampoline each time; all CPUs call the
function meanwhile. 7.3 oopses here if a callback is at an odd address (docs/reports/ftrace-odd-callback.md),
and every kernel does under an emulator that runs stale code (machine/accel.py).
"""

from __future__ import annotations

from pathlib import Path

import pytest

from bpfroots.errors import BpfrootsError
from bpfroots.jobs.guests import Guests
from bpfroots.jobs.kit import prepare
from bpfroots.machine import choose_accel
from bpfroots.progress import Progress

pytestmark = pytest.mark.guest

_CPUS = 4
_LONG = 1800.0
# And where a storm is asked for (--storm-seconds).
_ROUNDS, _STORM = 10, 100
# Every CPU changes its name without end: __set_task_comm() is what most cases trigger as well.
_SCRIPT = f"""
cd /sys/kernel/tracing || exit 2
for cpu in $(seq {_CPUS}); do
    (while :; do echo a$cpu > /proc/self/comm; done) &
done
round=0
while [ $round -lt ROUNDS ]; do
    echo 'p:kprobes/one __set_task_comm' >> kprobe_events || exit 3
    echo 'r:kprobes/two __set_task_comm' >> kprobe_events || exit 4
    echo 1 > events/kprobes/enable || exit 5
    echo 0 > events/kprobes/enable || exit 6
    echo > kprobe_events || exit 7
    round=$((round + 1))
done
kill $(jobs -p)
echo rounds $round
"""


def test_kprobes_come_and_go(pytestconfig: pytest.Config, tmp_path: Path) -> None:
    rounds = _STORM if pytestconfig.getoption("--storm-seconds") else _ROUNDS
    arguments = pytestconfig.getoption("--kernel")
    if not arguments:
        pytest.skip("needs a kernel: pytest --kernel=baseline")
    manager = pytestconfig.pluginmanager.getplugin("capturemanager")
    assert manager is not None
    try:
        with manager.global_and_fixture_disabled():
            kit = prepare(arguments[:1], Progress())
        kernel = kit.kernels[0]
        guests = Guests(kit, choose_accel(pytestconfig.getoption("--accel")))
        with guests.boot(
            kernel, tmp_path / "console.log", shape=kernel.shape.at_least(cpus=_CPUS)
        ) as machine:
            done = machine.output(_SCRIPT.replace("ROUNDS", str(rounds)), deadline=_LONG, no_output=_LONG)
            assert (done.status, done.stdout) == (0, f"rounds {rounds}\n".encode()), done.stderr
            assert machine.clean(), machine.splats()
    except BpfrootsError as error:
        pytest.fail(error.render(), pytrace=False)
