"""The kinds of root program: how each is declared, triggered and fed."""

from __future__ import annotations

from dataclasses import dataclass

from harness.programs.protocol import Trigger


@dataclass(frozen=True)
class RootKind:
    """One kind of root a case can name.

    ``type`` names the program type (roots of one type share a prog array in the tail-call form),
    ``section`` is libbpf's. ``ret`` is what the root returns to the kernel: let it pass.
    ``tracing`` roots see the whole system and count only what the runner causes. ``exact``:
    ``trigger`` makes the event happen exactly that often.
    """

    name: str
    type: str
    section: str
    ctx: str
    ret: int
    trigger: Trigger
    tracing: bool = False
    exact: bool = True
    test_run: bool = False


def _trigger(kind: str) -> Trigger:
    return Trigger(kind=kind, count=3)  # type: ignore[arg-type]


_KINDS = (
    RootKind(
        "kprobe",
        "kprobe",
        "kprobe/__set_task_comm",
        "struct pt_regs *ctx",
        0,
        _trigger("comm"),
        tracing=True,
    ),
    RootKind(
        "tracepoint",
        "tracepoint",
        "tracepoint/syscalls/sys_enter_getpgid",
        "void *ctx",
        0,
        _trigger("getpgid"),
        tracing=True,
    ),
    RootKind(
        "sched_switch",
        "tracepoint",
        "tracepoint/sched/sched_switch",
        "void *ctx",
        0,
        _trigger("yield"),
        tracing=True,
        exact=False,
    ),
    # 1 lets a cgroup's packet pass, -1 (TC_ACT_UNSPEC) hands tc's to the next program (TC_ACT_OK would be
    # the last word), 2 (XDP_PASS) lets XDP's pass.
    RootKind("cgroup_skb", "cgroup_skb", "cgroup_skb/ingress", "struct __sk_buff *ctx", 1, _trigger("udp")),
    RootKind("tc", "tc", "tc", "struct __sk_buff *ctx", -1, _trigger("udp"), test_run=True),
    RootKind("xdp", "xdp", "xdp", "struct xdp_md *ctx", 2, _trigger("udp"), test_run=True),
)

KINDS: dict[str, RootKind] = {kind.name: kind for kind in _KINDS}
