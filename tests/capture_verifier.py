"""python -m tests.capture_verifier NAME=KERNEL...: writes golden/verifier/NAME.jsonl again, from guests.

One line for each program of refused.bpf.c: its name, verdict, and the verifier's log.
"""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec

from bpfroots.jobs import run
from bpfroots.progress import Progress
from bpfroots.results.request import Objects, Request

GOLDEN = Path(__file__).parent / "golden" / "verifier"
SOURCE = GOLDEN / "refused.bpf.c"


class Log(msgspec.Struct, frozen=True):
    """What a kernel said to a program."""

    program: str
    verdict: str
    log: str


def _capture(name: str, kernel: str) -> None:
    request = Request((kernel,), Objects((str(SOURCE),)), "load")
    with run.opened(request, Progress()) as opened:
        opened.run()
    (cell,) = opened.cells
    files = {path.name: path for path in opened.store.path.rglob("*.verifier.log")}
    logs = [
        Log(root.name, root.verdict, files[f"{root.name}.verifier.log"].read_text()) for root in cell.roots
    ]
    (GOLDEN / f"{name}.jsonl").write_bytes(b"".join(msgspec.json.encode(log) + b"\n" for log in logs))


def main() -> None:
    for argument in sys.argv[1:]:
        name, _, kernel = argument.partition("=")
        _capture(name, kernel)


if __name__ == "__main__":
    main()
