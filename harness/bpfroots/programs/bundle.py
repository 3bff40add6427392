"""Everything a runner needs, for its standard input."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from bpfroots.programs.protocol import Job, Load

#: What the guest runs.
COMMAND = "exec bpfroots-runner"


def bundle(loads: Sequence[Load], objects: Mapping[str, Path]) -> bytes:
    """The job, and the object files that it names. ``objects`` maps the loads' object names to files."""
    contents = {name: path.read_bytes() for name, path in objects.items()}
    sizes = {name: len(content) for name, content in contents.items()}
    line = msgspec.json.encode(Job.of(loads, sizes))
    return b"".join([line, b"\n", *contents.values()])
