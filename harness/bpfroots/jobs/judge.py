"""From what the runner says to a judged cell."""

from __future__ import annotations

import errno
import shlex
from collections.abc import Iterable

from bpfroots.analysis import cell as analysis
from bpfroots.errors import GuestError
from bpfroots.jobs import hints
from bpfroots.jobs.spec import CellSpec
from bpfroots.kernels import Kernel
from bpfroots.programs.allowed import Allowed
from bpfroots.programs.cases import skip_reason
from bpfroots.programs.protocol import Hello, Loaded, MapDump, Probe
from bpfroots.programs.roots import joins_groups
from bpfroots.results.model import Cell, Expected, Outcome, Root


def blank(spec: CellSpec, kernel: Kernel, outcome: Outcome, reason: str = "") -> Cell:
    """A cell that nothing was loaded for."""
    return Cell(
        case=spec.name,
        kernel=kernel.name,
        mechanism=spec.mechanism,
        outcome=outcome,
        expected=Expected(spec.expected.verdict, spec.expected.message),
        reason=reason,
        reproduce=reproduce(spec, kernel.argument),
        attempt=spec.attempt,
    )


def skipped(spec: CellSpec, kernel: Kernel) -> Cell:
    """The cell of a mechanism that cannot express the case."""
    cell = blank(spec, kernel, "skip", skip_reason(spec.mechanism, spec.skip))
    cell.not_expressible = spec.skip
    return cell


def reproduce(spec: CellSpec, kernel: str) -> str:
    """The command that runs a cell again, on a kernel as ``--kernel`` has it."""
    argv = ["run", "--mechanism", spec.mechanism, "-k", spec.name] if spec.case else ["load", *spec.arguments]
    return shlex.join(["bpfroots", *argv, "--kernel", kernel])


def lost(spec: CellSpec, kernel: Kernel, error: GuestError, note: str = "") -> Cell:
    """The cell a guest died, hung or timed out in; ``note`` says what else is known."""
    cell = blank(spec, kernel, error.outcome, error.message)
    cell.console, cell.note = error.console, note
    if not error.console:  # of QEMU there is only what it said
        cell.note = "; ".join([*error.detail.splitlines()[:1], *([note] if note else [])])
    cell.duration_s = round(error.after_s, 6)
    return cell


def judge(
    spec: CellSpec,
    kernel: Kernel,
    hello: Hello,
    code: analysis.Code,
    reference: Cell | None,
) -> Cell:
    """The cell of a finished load, with its ``code``.

    ``reference`` is the cell of the same case whose results this one's must equal.
    """
    loaded = code.loaded
    cell = blank(spec, kernel, "pass")
    cell.duration_s = loaded.duration_us / 1e6
    if loaded.unsupported:
        return _as_known(_refused_mechanism(cell, spec, kernel.provides, hello), spec.expected.xfail)
    _fill(cell, spec, code)
    cell.compared = list(spec.case.equal) if spec.case else []
    if loaded.timed_out:
        cell.outcome, cell.reason = "timeout", loaded.error
    elif not cell.verdict:
        _without_verdict(cell, spec, kernel, loaded)
    elif reason := analysis.miscounted(cell):
        cell.outcome, cell.reason = "infra_error", reason
    elif spec.any_verdict:
        pass
    elif reason := _not_allowed(cell, spec, kernel):
        cell.outcome, cell.reason = "fail", reason
    elif spec.allowed and cell.verdict == "reject":
        pass
    elif reason := _wrong(spec, cell, loaded, reference):
        cell.outcome, cell.reason = "fail", reason
    return _as_known(cell, spec.expected.xfail)


def _without_verdict(cell: Cell, spec: CellSpec, kernel: Kernel, loaded: Loaded) -> None:
    """The kernel was not asked about a program, or about any: an error, unless that is known."""
    cell.outcome, cell.reason = "error", _no_verdict(loaded)
    unknown = [root for root in cell.programs if not root.verdict]
    rules = [_rule(cell, spec, kernel, name) for name in [root.name for root in unknown] or [""]]
    messages = [root.message for root in unknown] or [cell.reason]
    if all(
        rule and rule.verdict == "error" and rule.message in message
        for rule, message in zip(rules, messages, strict=True)
    ) and not _not_allowed(cell, spec, kernel):
        cell.outcome = "xfail"
        return
    cell.hint = hints.for_error(cell.reason)


def _rule(cell: Cell, spec: CellSpec, kernel: Kernel, program: str) -> Allowed | None:
    """The first exception that means this program."""
    asked = (kernel.name, kernel.release, cell.case, program)
    return next((rule for rule in spec.allowed if rule.applies(*asked)), None)


def _not_allowed(cell: Cell, spec: CellSpec, kernel: Kernel) -> str:
    """Why a verdict on some program is not what the user's file allows; empty where all are, or there is no
    file."""
    for root in cell.programs if spec.allowed else []:
        rule = _rule(cell, spec, kernel, root.name)
        who = f"{root.name} ({root.type})"
        if rule is None or not root.verdict:
            if root.verdict == "reject":
                return f"expected accept, got reject: {who}: {root.message}"
        elif rule.verdict != root.verdict:
            return f"expected {rule.verdict} ({rule.where}), got {root.verdict}: {who}"
        elif rule.message not in root.message:
            return f"{who}: rejected, but the verifier does not say {rule.message!r} ({rule.where})"
    return ""


def _as_known(cell: Cell, fault: str) -> Cell:
    """Where a ``fault`` is known (`Expectation.xfail`) a cell that fails is `xfail`, and one that passes has
    failed: the note is wrong."""
    if fault and cell.outcome == "fail":
        cell.outcome, cell.reason = "xfail", f"{fault}: {cell.reason}"
    elif fault and cell.outcome == "pass":
        cell.outcome, cell.reason = "fail", f"expected to fail ({fault}), but passes"
    return cell


def _fill(cell: Cell, spec: CellSpec, code: analysis.Code) -> None:
    """What the load came to, before anything is expected of it."""
    loaded = code.loaded
    cell.verdict = loaded.verdict
    cell.verifications = analysis.verifications(loaded)
    verified = {name: load for load in cell.verifications for name in load.programs}
    programs = [
        (program, analysis.make_root(program, code, verified.get(program.name), spec.inputs))
        for program in loaded.programs
    ]
    cell.roots = [root for program, root in programs if program.root]
    cell.targets = [root for program, root in programs if not program.root]
    cell.cost = analysis.total_cost(cell.roots, cell.targets, cell.verifications)
    cell.results = loaded.maps
    cell.remarks = list(loaded.remarks)
    # The body of our own cases is out of line, so there this is a failure. In a user's program the compiler
    # may have inlined it.
    if not spec.case and spec.mechanism == "multi_root" and cell.verdict == "accept":
        cell.remarks += [reason] if (reason := _not_shared(cell)) else []


def _no_verdict(loaded: Loaded) -> str:
    """Why there is none, by program where there are several."""
    unknown = [program for program in loaded.programs if not program.verdict]
    if not unknown:
        return loaded.error or "the runner reported no program"
    if len({program.error for program in unknown}) == 1:
        return unknown[0].error
    return "; ".join(f"{program.name}: {program.error}" for program in unknown)


def _refused_mechanism(cell: Cell, spec: CellSpec, provides: Iterable[str], hello: Hello) -> Cell:
    probe = hello.probes.get(spec.mechanism)
    if spec.mechanism in provides:
        cell.outcome = "fail"
        cell.reason = f"{cell.kernel} is to provide {spec.mechanism}, and does not{_probed(probe)}"
    elif probe is None or not probe.clean:
        cell.outcome = "fail"
        cell.reason = f"the kernel does not refuse {spec.mechanism} cleanly{_probed(probe)}"
    else:
        cell.outcome = "unsupported"
        name = errno.errorcode.get(probe.errno, f"errno {probe.errno}")
        cell.reason = f"this kernel has no {spec.mechanism} (refused with {name})"
    return cell


def _probed(probe: Probe | None) -> str:
    """What the probe gave, where E2BIG or EINVAL without side effects is expected."""
    if probe is None:
        return ": it was not asked"
    if probe.supported:
        return ": the probe is accepted"
    name = errno.errorcode.get(probe.errno, f"errno {probe.errno}")
    return f": {name}, expected E2BIG or EINVAL and no new file descriptor"


def _wrong(spec: CellSpec, cell: Cell, loaded: Loaded, reference: Cell | None) -> str:
    """Why the cell is not as expected; empty where it is."""
    expected = spec.expected
    if loaded.verdict != expected.verdict:
        return _verdict_reason(cell, expected.verdict)
    if expected.message and not any(expected.message in loaded.log(load) for load in loaded.loads):
        return f"rejected, but no log says {expected.message!r}"
    if loaded.error:
        return loaded.error
    if expected.verdict == "reject":
        return ""
    for run in loaded.runs:
        if run.errno:
            return f"test run of {run.root} on {spec.inputs.get(run.step)}: errno {run.errno}"
    if spec.case and spec.mechanism == "multi_root" and (reason := _not_shared(cell)):
        return reason
    if spec.mechanism == "fd_name" and (reason := _not_linked(cell)):
        return reason
    return _ran_wrong(spec, cell.results) or differs(spec, cell, reference)


def _not_shared(cell: Cell) -> str:
    """Whether every shared subprogram is one image to all of its roots; why not, where it is not."""
    roots = [root for root in cell.roots if joins_groups(root.type)]
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
    types = {root.name: root.type for root in cell.programs}
    for load in cell.verifications:
        if load.verdict == "reject":
            names = [load.failed] if load.failed else load.programs
            who = " + ".join(f"{name} ({types[name]})" for name in names)
            return f"expected {expected}, got reject: {who}: {load.message}"
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
