"""What commands in a guest get on their standard input: the runner its job, others an archive."""

from __future__ import annotations

import io
import tarfile
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


def archive(files: Mapping[str, Path]) -> bytes:
    """Files by the names that they get, for `tar x`."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", dereference=True) as tar:
        for name, path in files.items():
            tar.add(path, name)
    return out.getvalue()
