"""The command line with real guests: repeatable figures, foreign programs, interrupts that lose nothing."""

from __future__ import annotations

import json
import shlex
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bpfroots.jobs.kit import Kit
from bpfroots.results.store import RunStore
from tests import ROOT
from tests.processes import gone

pytestmark = [pytest.mark.guest, pytest.mark.usefixtures("kit")]

_DEADLINE = 300
_FOREIGN = """
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include "shared.h"
char LICENSE[] SEC("license") = "GPL";
static __noinline int weigh(int n) { return n * FACTOR; }
SEC("tracepoint/sched/sched_process_exec") int on_exec(void *ctx)
{
	struct task_struct *task = (void *)bpf_get_current_task();
	return weigh(BPF_CORE_READ(task, tgid)) == 7;
}
SEC("socket") int on_packet(struct __sk_buff *skb) { return weigh(skb->len); }
"""


def _json(*arguments: str | Path) -> tuple[int, Any, str]:
    done = subprocess.run(
        [sys.executable, "-m", "bpfroots", *map(str, arguments), "--json"],
        capture_output=True,
        timeout=_DEADLINE,
        text=True,
        check=False,
    )
    assert "Traceback" not in done.stderr
    return done.returncode, json.loads(done.stdout) if done.stdout else None, done.stderr


def test_twice_gives_the_same_figures_and_builds_nothing() -> None:
    runs = [_json("run", "-k", "example/kprobe+cgroup_skb") for _ in range(2)]
    assert [code for code, _, _ in runs] == [0, 0]
    figures = [
        {
            (cell["case"], cell["mechanism"]): [
                (
                    r["verdict"],
                    r["verifier"].get("processed_insns"),
                    [i["sha256"] for i in r["jit"]["images"]],
                )
                for r in cell["roots"] + cell["targets"]
            ]
            for cell in found["cells"]
        }
        for _, found, _ in runs
    ]
    assert figures[0] == figures[1]
    assert any(figures[0].values())
    assert "objects" not in runs[1][2]
    assert "tools" not in runs[1][2]


def test_load_of_a_foreign_program(tmp_path: Path) -> None:
    (tmp_path / "shared.h").write_text("#define FACTOR 3\n")
    source = tmp_path / "foreign.bpf.c"
    source.write_text(_FOREIGN)
    code, found, _ = _json("load", source, "--kernel", "baseline", "--mechanism", "duplicate")
    assert code == 0
    assert (found["kernel"], found["mechanism"]) == ("baseline", "duplicate")
    (cell,) = found["cells"]
    assert cell["verdict"] == "accept"
    assert {root["name"]: root["type"] for root in cell["roots"]} == {
        "on_exec": "tracepoint",
        "on_packet": "socket",
    }
    assert all(len(root["jit"]["images"]) == 2 for root in cell["roots"])
    assert str(source) in cell["reproduce"]


def test_load_takes_a_source_as_the_bytes_that_it_is(tmp_path: Path) -> None:
    source = tmp_path / "latin1.bpf.c"
    shared = b'#include "shared.h"\n'
    source.write_bytes(b"/* M\xfcller */\n" + _FOREIGN.encode().replace(shared, b"#define FACTOR 3\n"))
    code, found, stderr = _json("load", source)
    (cell,) = found["cells"]
    assert (code, cell["verdict"]) == (0, "accept")
    folder = Path(next(line.split()[-1] for line in stderr.splitlines() if line.startswith("results ")))
    assert (folder / cell["artefacts"]["source.bpf.c"]).read_bytes() == source.read_bytes()


def test_load_of_a_rejected_program_ends_1(tmp_path: Path) -> None:
    source = tmp_path / "bad.bpf.c"
    source.write_text(
        _FOREIGN.replace("FACTOR", "3").replace('#include "shared.h"\n', "").replace("skb->len", "*(int *)8")
    )
    code, found, _ = _json("load", source)
    assert code == 1
    assert found["cells"][0]["verdict"] == "reject"


def test_c_that_does_not_compile_ends_2_in_one_line(tmp_path: Path) -> None:
    source = tmp_path / "broken.bpf.c"
    source.write_text('#include "vmlinux.h"\nint f(void) { return nothing; }\n')
    code, found, stderr = _json("load", source)
    assert (code, found) == (2, None)
    errors = [line for line in stderr.splitlines() if line.startswith("bpfroots:")]
    assert len(errors) == 1
    assert "broken.bpf.c:2:22: use of undeclared identifier 'nothing'" in errors[0]


def test_a_kernel_without_btf_ends_3(kit: Kit, tmp_path: Path) -> None:
    kernel = kit.kernels[0]
    boot = tmp_path / "arch/x86/boot"
    boot.mkdir(parents=True)
    (boot / "bzImage").symlink_to(kernel.image.path)
    assert kernel.image.config is not None
    lines = kernel.image.config.read_text().splitlines()
    (tmp_path / ".config").write_text("\n".join(line for line in lines if "DEBUG_INFO_BTF" not in line))
    code, found, stderr = _json("run", "--kernel", tmp_path, "-k", "example")
    assert (code, found) == (3, None)
    assert "CONFIG_DEBUG_INFO_BTF is not set" in stderr


def test_accel_kvm_says_why_not(pytestconfig: pytest.Config) -> None:
    _, doctor, _ = _json("doctor")
    kvm = doctor["accelerator"]["kvm"]
    if kvm["usable"]:
        pytest.skip("KVM works here")
    done = subprocess.run(
        [sys.executable, "-m", "bpfroots", "run", "-k", "example", "--accel", "kvm"],
        capture_output=True,
        timeout=20,
        text=True,
        check=False,
    )
    assert done.returncode == 4
    assert kvm["reason"] in done.stderr


def _running(arguments: list[str]) -> tuple[subprocess.Popen[str], Path, list[int]]:
    """A run that has finished its first cell: the process, its folder, its QEMUs."""
    process = subprocess.Popen(
        [sys.executable, "-m", "bpfroots", "run", *arguments],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    assert process.stderr is not None
    folder = Path(next(line.split()[-1] for line in process.stderr if line.startswith("results ")))
    # tail -F waits by inotify. Cells that are skipped are there before the guest is: wait for one that ran.
    command = ["timeout", str(_DEADLINE), "tail", "-n", "+1", "-F", str(folder / "cells.jsonl")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as tail:
        assert tail.stdout is not None
        assert any(b'"outcome":"pass"' in line for line in tail.stdout)
        tail.kill()
    return process, folder, _descendants(process.pid, "qemu-system-x86")


def _descendants(pid: int, name: str) -> list[int]:
    found = []
    for path in Path("/proc").iterdir():
        if path.name.isdigit():
            try:
                status = dict(line.split(":\t", 1) for line in (path / "status").read_text().splitlines())
            except (OSError, ValueError):
                continue
            if int(status["PPid"]) == pid and name.startswith(status["Name"]):
                found.append(int(path.name))
    return found


@pytest.mark.parametrize(("how", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 130), (signal.SIGKILL, -9)])
def test_an_interrupted_run_keeps_its_cells_and_leaves_nothing(how: signal.Signals, code: int) -> None:
    process, folder, qemus = _running(["-k", "gen", "--mechanism", "duplicate"])
    assert qemus
    process.send_signal(how)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == code
    assert "Traceback" not in stderr
    assert all(gone(pid) for pid in qemus)
    cells = RunStore.open(folder).cells()
    assert cells
    if how != signal.SIGKILL:
        assert (folder / "report" / "index.html").is_file()
        again = f"; for the others: bpfroots run --resume {folder.name}"
        assert f"kept      finished cells, in {folder}{again}" in stderr
        assert stderr.endswith("bpfroots: interrupted\n")


def _shell(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "bpfroots", "shell", *words],
        capture_output=True,
        timeout=_DEADLINE,
        text=True,
        check=False,
    )


def test_shell_runs_a_command_in_a_fresh_guest() -> None:
    done = _shell("--gdb", "uname -r; exit 7")
    assert done.returncode == 7, done.stderr
    said = dict(line.split(None, 1) for line in done.stderr.splitlines())
    assert said["guest"].startswith(f"baseline ({done.stdout.strip()})")
    # The guest is gone, and with it gdb's socket.
    socket = said["gdb"].rpartition(" ")[2].strip("'")
    assert socket.endswith("/gdb")
    assert not Path(socket).exists()


@pytest.mark.parametrize("dashes", [[], ["--"]])
def test_shell_gives_the_command_its_options(dashes: list[str], kit: Kit) -> None:
    done = _shell(*dashes, "uname", "-r")
    assert (done.returncode, done.stdout.strip()) == (0, kit.kernels[0].release), done.stderr


def test_shell_keeps_words_apart_and_returns_any_status() -> None:
    done = _shell("sh", "-c", "echo $#: $1; exit 255", "sh", "a  b")
    assert (done.returncode, done.stdout) == (255, "1: a b\n"), done.stderr


def test_shell_says_what_became_of_its_guest() -> None:
    done = _shell("echo c > /proc/sysrq-trigger")
    assert done.returncode == 1, done.stderr
    assert "bpfroots: panic: sysrq triggered crash" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "command",
    [
        ["run", "-k", "example/kprobe+cgroup_skb"],
        ["load", str(ROOT / "tests/programs/29c-uapi-headers.bpf.c")],
    ],
    ids=lambda c: c[0],
)
def test_a_kept_guest_lets_one_in_until_enter(command: list[str]) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "bpfroots", *command, "--keep-guest", "--json"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stderr is not None
    line = next(line for line in process.stderr if line.startswith("guest  ") and " ssh " in line)
    words = shlex.split(line.partition("ssh")[2])
    inside = subprocess.run(
        ["ssh", *words, "ls /usr/bin/bpfroots-runner"], capture_output=True, timeout=60, check=False
    )
    assert inside.stdout == b"/usr/bin/bpfroots-runner\n", inside.stderr
    qemus = _descendants(process.pid, "qemu-system-x86")
    assert len(qemus) == 1
    out, _ = process.communicate("\n", timeout=_DEADLINE)
    assert process.returncode == 0
    assert json.loads(out)["counts"]["pass"] > 0
    assert all(gone(pid) for pid in qemus)


@pytest.mark.parametrize("guests", [1, 3])
def test_as_many_guests_as_asked_for(guests: int) -> None:
    """With the same cells in the end, each once."""
    code, found, _ = _json("run", "-k", "gen", "--mechanism", "duplicate", "-j", str(guests))
    assert code == 0
    assert len(list((Path(found["path"]) / "console").iterdir())) == guests
    cases = [cell["case"] for cell in found["cells"]]
    assert len(cases) == len(set(cases)) > 64
