"""The kinds of root program: how each is declared, triggered and fed, and what its type can do."""

from __future__ import annotations

from dataclasses import dataclass

from bpfroots.programs.protocol import Trigger

Ability = str

# libbpf needs an attach target to load these, which a root of a load has no place for: it loads them by
# themselves, whatever they share (prog_can_share() in the series).
_ALONE = ("fentry", "fexit", "fmod_ret", "freplace", "lsm", "iter", "struct_ops", "syscall", "tp_btf")

#: PACKET: data and data_end. LOCK: bpf_spin_lock and timers, which tracing programs and socket filters
#: may not have (check_map_prog_compatibility()). CTX16: four bytes at offset 16 of the context.
PACKET, LOCK, CTX16 = "packet", "lock", "ctx16"


@dataclass(frozen=True)
class RootKind:
    """One kind of root a case can name.

    ``type`` names the program type (roots of one type share a prog array in the tail-call form),
    ``section`` is libbpf's. ``ret`` is what the root returns to the kernel: let it pass.
    ``tracing`` roots see the whole system and count only what the runner causes. ``exact``:
    ``trigger`` makes the event happen exactly that often. ``probe`` is C that reads the context, the same
    in every run. ``once``: only one can be attached. ``refused``: a multi-root load does not take the type.
    """

    name: str
    type: str
    section: str
    ctx: str
    ret: int
    trigger: Trigger
    probe: str
    can: frozenset[Ability] = frozenset()
    tracing: bool = False
    exact: bool = True
    test_run: bool = False
    once: bool = False
    refused: bool = False

    @property
    def options(self) -> tuple[str, ...]:
        """Options of the kernel without which it cannot be attached, or does not run."""
        return _OPTIONS.get(self.name, ())


def _trigger(kind: str) -> Trigger:
    return Trigger(kind=kind, count=3)  # type: ignore[arg-type]


def _tracing(
    name: str, type_: str, section: str, ctx: str, event: str, probe: str, **more: object
) -> RootKind:
    return RootKind(name, type_, section, ctx, 0, _trigger(event), probe, tracing=True, **more)  # type: ignore[arg-type]


_IP = "PT_REGS_IP((struct pt_regs *)ctx) != 0"
_ARGS = "((__u64 *)ctx)[0] != 0"
_LEN = "((struct __sk_buff *)ctx)->len"

_KINDS = (
    _tracing(
        "kprobe",
        "kprobe",
        "kprobe/__set_task_comm",
        "struct pt_regs *ctx",
        "comm",
        _IP,
        can=frozenset({CTX16}),
    ),
    _tracing(
        "kretprobe",
        "kprobe",
        "kretprobe/__set_task_comm",
        "struct pt_regs *ctx",
        "comm",
        _IP,
        can=frozenset({CTX16}),
    ),
    _tracing(
        "tracepoint",
        "tracepoint",
        "tracepoint/syscalls/sys_enter_getpgid",
        "void *ctx",
        "getpgid",
        "((struct trace_event_raw_sys_enter *)ctx)->id",
        can=frozenset({CTX16}),
    ),
    _tracing(
        "sched_switch",
        "tracepoint",
        "tracepoint/sched/sched_switch",
        "void *ctx",
        "yield",
        "((struct trace_event_raw_sched_switch *)ctx)->next_pid >= 0",
        can=frozenset({CTX16}),
        exact=False,
    ),
    _tracing(
        "raw_tp",
        "raw_tracepoint",
        "raw_tp/task_rename",
        "struct bpf_raw_tracepoint_args *ctx",
        "comm",
        "((struct bpf_raw_tracepoint_args *)ctx)->args[0] != 0",
    ),
    _tracing(
        "perf_event",
        "perf_event",
        "perf_event",
        "struct bpf_perf_event_data *ctx",
        "yield",
        "((struct bpf_perf_event_data *)ctx)->sample_period",
        exact=False,
    ),
    _tracing(
        "fentry",
        "fentry",
        "fentry/__set_task_comm",
        "unsigned long long *ctx",
        "comm",
        _ARGS,
        can=frozenset({LOCK}),
    ),
    _tracing(
        "lsm",
        "lsm",
        "lsm/task_getpgid",
        "unsigned long long *ctx",
        "getpgid",
        _ARGS,
        can=frozenset({LOCK}),
    ),
    # -1 lets a socket have the whole packet.
    RootKind(
        "socket",
        "socket_filter",
        "socket",
        "struct __sk_buff *ctx",
        -1,
        _trigger("unix"),
        _LEN,
        can=frozenset({CTX16}),
        test_run=True,
    ),
    # 1 lets a cgroup's packet pass, -1 (TC_ACT_UNSPEC) hands tc's to the next program (TC_ACT_OK would be
    # the last word), 2 (XDP_PASS) lets XDP's pass.
    RootKind(
        "cgroup_skb",
        "cgroup_skb",
        "cgroup_skb/ingress",
        "struct __sk_buff *ctx",
        1,
        _trigger("udp"),
        _LEN,
        can=frozenset({PACKET, LOCK, CTX16}),
    ),
    RootKind(
        "tc",
        "tc",
        "tc",
        "struct __sk_buff *ctx",
        -1,
        _trigger("udp"),
        _LEN,
        can=frozenset({PACKET, LOCK, CTX16}),
        test_run=True,
    ),
    RootKind(
        "xdp",
        "xdp",
        "xdp",
        "struct xdp_md *ctx",
        2,
        _trigger("udp"),
        "((struct xdp_md *)ctx)->rx_queue_index",
        can=frozenset({PACKET, LOCK, CTX16}),
        test_run=True,
        once=True,
    ),
    # An unconnected sendto() asks it.
    RootKind(
        "sendmsg4",
        "cgroup_sock_addr",
        "cgroup/sendmsg4",
        "struct bpf_sock_addr *ctx",
        1,
        _trigger("udp"),
        "((struct bpf_sock_addr *)ctx)->user_family",
        can=frozenset({LOCK}),
        refused=True,
    ),
    # SK_PASS without a socket: the lookup continues.
    RootKind(
        "sk_lookup",
        "sk_lookup",
        "sk_lookup",
        "struct bpf_sk_lookup *ctx",
        1,
        _trigger("udp"),
        "((struct bpf_sk_lookup *)ctx)->family",
        can=frozenset({LOCK, CTX16}),
        refused=True,
    ),
)


def joins_groups(section: str) -> bool:
    """Whether libbpf makes a program of this section part of a multi-root load where it shares functions."""
    return not section.removeprefix("?").startswith(_ALONE)


_OPTIONS = {
    "kprobe": ("BPF_EVENTS", "KPROBE_EVENTS"),
    "kretprobe": ("BPF_EVENTS", "KPROBE_EVENTS"),
    "tracepoint": ("BPF_EVENTS", "FTRACE_SYSCALLS"),
    "sched_switch": ("BPF_EVENTS",),
    "raw_tp": ("BPF_EVENTS",),
    "perf_event": ("BPF_EVENTS",),
    "fentry": ("BPF_EVENTS", "DYNAMIC_FTRACE"),
    "lsm": ("BPF_LSM",),
    "socket": ("UNIX",),
    "cgroup_skb": ("CGROUP_BPF",),
    "tc": ("NET_SCH_INGRESS", "NET_CLS_BPF"),
    "sendmsg4": ("CGROUP_BPF",),
}

KINDS: dict[str, RootKind] = {kind.name: kind for kind in _KINDS}
