"""Small programs to measure with, as people write them: a map, a counter, a line or two."""

from __future__ import annotations

from pathlib import Path

from bpfroots.jobs.kit import Kit
from bpfroots.programs import compile as compiling

_SECTIONS = ("kprobe", "tracepoint", "xdp", "socket", "tc", "raw_tracepoint")
_SOURCE = """\
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
char LICENSE[] SEC("license") = "GPL";
struct {{
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 4);
	__type(key, int);
	__type(value, long);
}} counts SEC(".maps");
SEC("{section}") int prog(void *ctx)
{{
	int key = {number};
	long *value = bpf_map_lookup_elem(&counts, &key);

	if (value)
		__sync_fetch_and_add(value, 1);
	return 0;
}}
"""
#: What every one of them is called.
PROGRAM = "prog"


def sources() -> dict[str, bytes]:
    """Name → C, one program each: of several types, no two alike."""
    return {
        f"small{number}.bpf.c": _SOURCE.format(section=section, number=number).encode()
        for number, section in enumerate(_SECTIONS)
    }


def objects(kit: Kit, count: int) -> dict[str, Path]:
    """``count`` objects by name, of a few contents in turn."""
    built = [
        compiling.compile_source(kit.toolchain, kit.objects, source, name)
        for name, source in sources().items()
    ]
    return {f"small{n}.bpf.o": built[n % len(built)] for n in range(count)}
