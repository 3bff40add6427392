"""What to do about an object that gets no verdict, by what libbpf says of it."""

from __future__ import annotations

import re

_HINTS = (
    (r"attach program FD is not set", "name the program it replaces a function of: --target OBJECT"),
    (
        r"extern \(func ksym\) .*not found in kernel",
        "is it in this kernel, and in its configuration? Declare it __weak to load without it",
    ),
    (
        r"extern|unresolved|failed to find BTF for extern",
        "where another object defines it: --mechanism fd_name --lib OBJECT, with the extern declared "
        "__bpf_import; or link the two with bpftool gen object",
    ),
    (
        r"missing BPF prog type|ELF section name",
        "libbpf does not know the section's name; its own loader may set the type of the program",
    ),
    (r"legacy map definitions", 'libbpf 1.0 and later take maps in SEC(".maps") alone: port the map'),
    (r"unsupported map linkage static", "a map cannot be static: drop the word"),
    (
        r"failed to create",
        "a map's size or type may be what its own loader sets; or the kernel has no such map",
    ),
    (
        r"failed to find kernel BTF type ID|not found in kernel BTF",
        "this kernel has no such function or type",
    ),
    (r"endian", "compile it for this machine: -target bpfel"),
)


def for_error(reason: str) -> str:
    """One line; empty where nothing is known to help."""
    return next((hint for pattern, hint in _HINTS if re.search(pattern, reason)), "")
