"""From what the runner says to a judged cell."""

from __future__ import annotations

import shlex
from collections.abc import Iterable

from harness.analysis import cell as analysis
from harness.errors import GuestError
from harness.jobs.spec import CellSpec
from harness.programs.protocol import Hello, Loaded, MapDump
from harness.programs.roots import joins_groups
from harness.results.model import Cell, Expected, Outcome, Root


def blank(spec: CellSpec, kernel: str, outcome: Outcome, reason: str = "") -> Cell:
    """A cell that nothing was loaded for."""
    return Cell(
        case=spec.name,
        kernel=kernel,
        mechanism=spec.mechanism,
        outcome=outcome,
        expected=Expected(spec.expected.verdict, spec.expected.message),
        reason=reason,
        reproduce=spec.reproduce.replace("KERNEL", kernel) or _reproduce(spec, kernel),
    )


def _reproduce(spec: CellSpec, kernel: str) -> str:
    argv = ["bpfroots", "run", "--kernel", kernel, "--mechanism", spec.mechanism, "-k", spec.name]
    return shlex.join(argv)


def lost(spec: CellSpec, kernel: str, error: GuestError) -> Cell:
    """The cell a guest died, hung or timed out in."""
    outcome: Outcome = error.outcome  # type: ignore[assignment]
    reason = "; ".join([error.message, *error.detail.splitlines()[:1]])
    cell = blank(spec, kernel, outcome, reason)
    cell.duration_s = round(error.after_s, 6)
    return cell


def judge(
    spec: CellSpec,
    kernel: str,
    provides: Iterable[str],
    hello: Hello,
    code: analysis.Code,
    reference: Cell | None,
) -> Cell:
    """The cell of a finished load, with its ``code``.

    ``provides`` are the mechanisms this kernel claims to have, ``reference`` the cell of the
    same case whose results this one's must equal.
    """
    loaded = code.loaded
    cell = blank(spec, kernel, "pass")
    cell.duration_s = loaded.duration_us / 1e6
    if loaded.unsupported:
        return _refused_mechanism(cell, spec, provides, hello)
    cell.verdict = loaded.verdict
    programs = [(program, analysis.make_root(program, code, spec.inputs)) for program in loaded.programs]
    # Where no roots are named, every program is one.
    cell.roots = [root for program, root in programs if program.root or not spec.roots]
    cell.targets = [root for program, root in programs if spec.roots and not program.root]
    one_load = spec.mechanism == "multi_root"
    cell.cost = analysis.total_cost(cell.roots, cell.targets, one_load=one_load)
    cell.results = loaded.maps
    cell.compared = list(spec.case.equal) if spec.case else []
    reason = _wrong(spec, cell, loaded, reference)
    if reason:
        cell.outcome, cell.reason = "fail", reason
    return cell


def _refused_mechanism(cell: Cell, spec: CellSpec, provides: Iterable[str], hello: Hello) -> Cell:
    probe = hello.probes.get(spec.mechanism)
    if spec.mechanism in provides:
        errno = probe.errno if probe else 0
        cell.outcome = "fail"
        cell.reason = f"{cell.kernel} provides {spec.mechanism}, yet refuses the probe with errno {errno}"
    elif probe is None or not probe.clean:
        cell.outcome = "fail"
        cell.reason = f"the kernel does not refuse {spec.mechanism} cleanly: {probe}"
    else:
        cell.outcome = "unsupported"
        cell.reason = f"this kernel has no {spec.mechanism} (refused with errno {probe.errno})"
    return cell


def _wrong(spec: CellSpec, cell: Cell, loaded: Loaded, reference: Cell | None) -> str:
    """Why the cell is not as expected; empty where it is."""
    expected = spec.expected
    if loaded.verdict != expected.verdict:
        if loaded.error and not any(p.verdict == "reject" for p in loaded.programs):
            return loaded.error
        return _verdict_reason(cell, expected.verdict)
    if expected.message and not any(expected.message in p.log for p in loaded.programs):
        return f"rejected, but no log says {expected.message!r}"
    if loaded.error:
        return loaded.error
    if expected.verdict == "reject":
        return ""
    for run in loaded.runs:
        if run.errno:
            return f"test run of {run.root} on {spec.inputs.get(run.step)}: errno {run.errno}"
    sharing = [root for root in cell.roots if joins_groups(root.type)]
    if spec.mechanism == "multi_root" and (reason := _not_shared(sharing)):
        return reason
    if spec.mechanism == "fd_name" and (reason := _not_linked(cell)):
        return reason
    return _ran_wrong(spec, cell.results) or differs(spec, cell, reference)


def _not_shared(roots: list[Root]) -> str:
    """Whether every shared subprogram is one image to all of its roots; why not, where it is not."""
    addresses: dict[str, set[str]] = {}
    callers: dict[str, set[str]] = {}
    for root in roots:
        # bpf_prog_info lists a program's own entry first, its subprograms after it.
        for image in root.jit.images[1:]:
            addresses.setdefault(image.symbol, set()).add(image.addr)
            callers.setdefault(image.symbol, set()).add(root.name)
    for symbol, found in addresses.items():
        if len(found) > 1:
            return f"{symbol} has {len(found)} images, not one that all roots call"
    if len(roots) > 1 and not any(len(names) > 1 for names in callers.values()):
        return "the roots share no image"
    return ""


def _not_linked(cell: Cell) -> str:
    """Whether every root calls an image of the library, at its first byte; why not, where one does not."""
    functions = {image.symbol for target in cell.targets for image in target.jit.images[1:]}
    for root in cell.roots:
        if not functions.intersection(call for image in root.jit.images for call in image.calls):
            return f"{root.name} calls no function of the library"
    return ""


def _verdict_reason(cell: Cell, expected: str) -> str:
    for root in [*cell.roots, *cell.targets]:
        if root.verdict == "reject":
            return f"expected {expected}, got reject: {root.name} ({root.type}): {root.message}"
    return f"expected {expected}, got {cell.verdict}"


def _ran_wrong(spec: CellSpec, maps: list[MapDump]) -> str:
    if spec.case is None:
        return ""
    hits = next((dump for dump in maps if dump.name == "hits"), None)
    if hits is None:
        return "the runner read no map named hits"
    counts = [int.from_bytes(bytes.fromhex(entry.value), "little") for entry in hits.entries]
    return spec.case.hits_wrong(counts)


def differs(spec: CellSpec, cell: Cell, reference: Cell | None) -> str:
    """The oracle: equal inputs, equal return values and maps under every mechanism. Why not, where not."""
    if spec.case is None or cell.verdict != "accept" or reference is None or reference.outcome != "pass":
        return ""
    differences = _runs_differ(reference.roots, cell.roots)
    if spec.case.equal:
        differences += analysis.equal_results(reference.results, cell.results, spec.case.equal)
    if not differences:
        return ""
    where = "" if reference.kernel == cell.kernel else f" on {reference.kernel}"
    return f"results differ from {reference.mechanism}{where}: {differences[0]}"


def _runs_differ(reference: list[Root], roots: list[Root]) -> list[str]:
    # By name: libbpf goes by sections, whose order is another one in another form.
    others = {root.name: root for root in reference}
    return [
        f"{root.name} on {b.input}: returned {b.retval}, not {a.retval}"
        for root in roots
        for a, b in zip(others[root.name].runs, root.runs, strict=True)
        if (a.retval, a.data_out) != (b.retval, b.data_out)
    ]
