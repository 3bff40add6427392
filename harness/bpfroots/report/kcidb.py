"""A run as KernelCI's KCIDB takes it: checkouts, builds and tests in its I/O schema 5.3.

What is not known is left out; figures are in `misc`. https://github.com/kernelci/kcidb/blob/main/doc/submitter_guide.md
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from bpfroots import arch
from bpfroots.analysis.compare import figures, unexpected_reason
from bpfroots.results.model import BUILD, Cell, KernelInfo, RunInfo, Step, TestResult

#: In a run folder.
NAME = "kcidb.json"
_VERSION = {"major": 5, "minor": 3}
#: What an origin may be called.
ORIGIN = re.compile(r"[a-z0-9_]+")
_STATUS = {
    "pass": "PASS",
    "xfail": "PASS",
    "fail": "FAIL",
    "guest_crash": "FAIL",
    "guest_hang": "FAIL",
    "error": "ERROR",
    "timeout": "ERROR",
    "infra_error": "MISS",
    "skip": "SKIP",
    "unsupported": "SKIP",
}
_MOST_LOG = 16384


def write(
    run_dir: Path, origin: str, run: RunInfo, tests: Sequence[TestResult], steps: Sequence[Step]
) -> Path:
    """Write kcidb.json into the run folder. ``origin`` is the name that KCIDB knows this system by."""
    path = run_dir / NAME
    document = render(origin, run, tests, steps)
    path.write_bytes(msgspec.json.format(msgspec.json.encode(document), indent=1) + b"\n")
    return path


def render(origin: str, run: RunInfo, tests: Sequence[TestResult], steps: Sequence[Step]) -> dict[str, Any]:
    """The document."""
    failed = {step.kernel: step.reason for step in steps if (step.case, step.outcome) == (BUILD, "fail")}
    kernels = [*run.kernels, *(KernelInfo(name) for name in failed)]
    return {
        "version": _VERSION,
        "checkouts": [_checkout(origin, run, kernel) for kernel in kernels],
        "builds": [_build(origin, run, kernel, failed.get(kernel.name)) for kernel in kernels],
        "tests": [_test(origin, run, test) for test in tests],
    }


def _id(origin: str, run: RunInfo, *parts: str) -> str:
    return f"{origin}:{'/'.join((run.run, *parts))}"


def _checkout(origin: str, run: RunInfo, kernel: KernelInfo) -> dict[str, Any]:
    checkout = {
        "id": _id(origin, run, kernel.name),
        "origin": origin,
        "start_time": run.started,
        "valid": bool(kernel.key),
        "misc": {"source": kernel.source_id, "series": kernel.series_id},
    }
    if kernel.commit:
        checkout["git_commit_hash"] = kernel.commit
    if kernel.key and not kernel.series_id:
        checkout["patchset_hash"] = ""
    return checkout


def _build(origin: str, run: RunInfo, kernel: KernelInfo, failed: str | None) -> dict[str, Any]:
    build = {
        "id": _id(origin, run, kernel.name),
        "checkout_id": _id(origin, run, kernel.name),
        "origin": origin,
        "architecture": arch.GUEST.name,
        "config_name": kernel.name,
        "status": "PASS" if failed is None else "FAIL",
        "misc": {"release": kernel.release, "config_hash": kernel.config_hash},
    }
    if kernel.compiler:
        build["compiler"] = kernel.compiler
    if failed:
        build["log_excerpt"] = _text(failed)
    return build


def _test(origin: str, run: RunInfo, result: TestResult) -> dict[str, Any]:
    status = _STATUS[result.outcome]
    key = result.key
    test: dict[str, Any] = {
        "id": _id(origin, run, *filter(None, (key.kernel, key.case, key.how))),
        "build_id": _id(origin, run, key.kernel),
        "origin": origin,
        "path": ".".join(["bpfroots", *map(_word, filter(None, (*key.case.split("/"), key.mechanism)))]),
        "status": status,
        "start_time": run.started,
        "environment": {"comment": " ".join(filter(None, (run.qemu, run.accel)))},
        "comment": _text(key.case),
        "misc": {"outcome": result.outcome, "reproduce": result.reproduce},
    }
    if isinstance(result, Cell):
        test["misc"] |= {"verdict": result.verdict, "figures": figures(result)}
    if result.duration_s:
        test["duration"] = result.duration_s
    if status in ("FAIL", "ERROR", "MISS"):
        test["log_excerpt"] = _text(unexpected_reason(result))
    return test


def _word(name: str) -> str:
    """A part of a path: no dots, and nothing but letters, digits, _ and -."""
    return re.sub(r"[^a-zA-Z0-9_-]", "_", name) or "_"


def _text(text: str) -> str:
    return text.replace("\0", "�")[:_MOST_LOG]
