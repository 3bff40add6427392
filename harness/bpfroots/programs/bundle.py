"""Everything a runner needs, as one tar for its standard input."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Sequence
from pathlib import Path

import msgspec

from bpfroots.programs.protocol import VERSION, Job, Load

#: What the guest runs: unpack into a fresh directory, run, leave nothing behind.
COMMAND = "d=$(mktemp -d) && cd $d && tar xf - && bpfroots-runner job.json; s=$?; cd /; rm -rf $d; exit $s"


def bundle(loads: Sequence[Load], objects: dict[str, Path]) -> bytes:
    """The tar. ``objects`` maps the loads' object names to the files on this side."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        _add(tar, "job.json", msgspec.json.encode(Job(VERSION, list(loads))))
        for name in sorted({name for load in loads for name in (load.object, load.library) if name}):
            _add(tar, name, objects[name].read_bytes())
    return out.getvalue()


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    tar.addfile(info, io.BytesIO(data))
