"""RunInfo folders of earlier versions: what they have, in the fields that there are today.

Only here is anything read out of the words of an earlier version. `model.SCHEMA` says what each has.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any

from bpfroots.results.model import Cell, RunInfo, Step

_COMMIT = re.compile(r"git:([0-9a-f]{40})")
_CONSOLE = re.compile(r"console +(.*?)(?::(\d+))?")
_SKIPPED = re.compile(r"not expressible as (?:a tail call|a call by name): (.*)", re.DOTALL)
_NUMBERED = re.compile(r"(.*)\.(\d+)")
_LOST = ("guest_crash", "guest_hang", "timeout", "infra_error")
_BISECTION = re.compile(r"Z-(bisect(?:-step)?)(?:-\d+)?$")


def run(found: dict[str, Any]) -> None:
    """run.json as it is written today."""
    if found.get("schema", 3) < 3:
        what = (found.get("request") or {}).get("what", {})
        what["only"] = [_key(kernel, cell) for kernel, cell in what.get("only", ())]
        found["kind"] = _kind(found)
        for kernel in found.get("kernels", ()):
            source = kernel.get("source_id", "")
            kernel["prebuilt"] = source.startswith("bzImage ")
            kernel["commit"] = match[1] if (match := _COMMIT.match(source)) else ""


def cell(found: dict[str, Any], kernels: Collection[str]) -> None:
    """A line of cells.jsonl, of a run of those kernels."""
    if "console" in found:
        return
    if found["outcome"] in _LOST:
        found["reason"], *rest = found["reason"].split("; ")
        if rest and (match := _CONSOLE.fullmatch(rest[0])):
            found["console"], rest = (match[1], int(match[2] or 0)), rest[1:]
        found["note"] = "; ".join(rest)
    if found["outcome"] == "skip" and (match := _SKIPPED.fullmatch(found["reason"])):
        found["not_expressible"] = match[1]
    attempt(found, kernels)


def step(found: dict[str, Any]) -> None:
    """A line of steps.jsonl."""
    if "what" in found:
        what = found.pop("what")
        found["case"], found["program"] = f"kernel/{what}", "" if what == "build" else what


def cells_and_steps(of: RunInfo, found: list[Cell]) -> tuple[list[Cell], list[Step]]:
    """Cells, and tests of the kernel's tree, which a bisection wrote down as cells."""
    if of.schema >= 3 or of.kind not in ("bisect", "bisect-step"):
        return found, []
    steps = [
        Step(case=one.case, kernel=one.kernel, outcome=one.outcome, reason=one.reason, attempt=one.attempt)
        for one in found
        if one.case.startswith("selftest/")
    ]
    return [one for one in found if not one.case.startswith("selftest/")], steps


def attempt(found: dict[str, Any], kernels: Collection[str]) -> None:
    """The number of a bisection's run was in the kernel's name, from the second on."""
    match = _NUMBERED.fullmatch(found["kernel"])
    if match and found["kernel"] not in kernels and match[1] in kernels:
        found["kernel"], found["attempt"] = match[1], int(match[2])


def judgement(found: dict[str, Any], kernels: Collection[str]) -> None:
    """A line of judgements.jsonl, of a bisection with those kernels."""
    if isinstance(found.get("shown"), str):
        named: dict[str, Any] = {"kernel": found["shown"]}
        attempt(named, kernels)
        found["shown"] = (named["kernel"], named.get("attempt", 1))


def selftest(found: dict[str, Any]) -> None:
    """A line of selftests/KERNEL/PROGRAM.jsonl."""
    if "id" in found:
        number, _, found["user"] = found.pop("id").partition("/")
        found["number"] = int(number)


def _kind(found: dict[str, Any]) -> str:
    if request := found.get("request"):
        return str(request.get("kind", "run"))
    if found.get("job"):
        return "nightly"
    if match := _BISECTION.search(found["run"]):
        return match[1]
    return "selftest" if found["command"][1:2] == ["selftest"] else "run"


def _key(kernel: str, cell: str) -> tuple[str, str, str]:
    case, _, mechanism = cell.rpartition("#")
    return case, mechanism, kernel
