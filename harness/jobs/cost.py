"""The cost pass: instructions per run of every accepted root, from machines that count them.

In a machine with `-icount shift=0` a nanosecond of guest time is an instruction. The figures are exact
and the same in every boot; they show work, not time: no cache, no pipeline, no misprediction.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from harness.analysis import cost as analysis
from harness.errors import GuestError, InfraError
from harness.jobs.guests import Guests
from harness.jobs.kit import Kit
from harness.jobs.reuse import Reuse
from harness.jobs.runner import RunnerDied, stream
from harness.jobs.spec import CellSpec, cell_id
from harness.kernels import Kernel
from harness.machine import Shape, choose_accel
from harness.programs import compile as compiling
from harness.programs import cost, protocol
from harness.progress import Task
from harness.results.model import Cell, CostFigure
from harness.results.store import RunStore

#: Words for the kernel's command line, by whether the JIT goes through retpolines. nokaslr: a program
#: that prints an address prints as many digits in every boot.
_MITIGATIONS = {True: ("nokaslr",), False: ("nokaslr", "spectre_v2=off")}


@dataclass
class _Pass:
    """What is left to measure, and what an empty program of each kind takes."""

    pending: dict[str, protocol.Load]
    objects: dict[str, Path]
    empty: dict[tuple[str, str], float] = field(default_factory=dict)
    current: str = ""


def measure(
    kit: Kit,
    store: RunStore,
    kernel: Kernel,
    specs: Sequence[CellSpec],
    cells: Iterable[Cell],
    objects: dict[str, Path],
    task: Task,
    reuse: Reuse | None = None,
) -> list[CostFigure]:
    """Measure the accepted cells of a kernel, with retpolines and without. Figures are in the run
    folder before the next cell is measured; a cell whose guest dies has none. ``reuse``: figures
    of cells that were measured before come from there."""
    accepted = {cell.id for cell in cells if cell.verdict == "accept" and cell.kernel == kernel.name}
    wanted = [s for s in specs if f"{s.name}-{s.mechanism}-{kernel.name}" in accepted and _measurable(s)]
    found: list[CostFigure] = []
    if reuse:
        known = {s.id: reuse.costs(kernel, s, objects[s.id]) for s in wanted}
        found = [figure for figures in known.values() if figures is not None for figure in figures]
        store.add_costs(found)
        wanted = [s for s in wanted if known[s.id] is None]
    if not wanted:
        return found
    guests = Guests(kit, choose_accel("tcg"))
    new: dict[str, list[CostFigure]] = {}
    for retpolines in _MITIGATIONS:
        for figure in _measure(guests, kit, store, kernel, wanted, objects, retpolines, task):
            new.setdefault(cell_id(figure.case, figure.mechanism), []).append(figure)
    for spec in wanted:
        figures = new.get(spec.id, [])
        if reuse and {figure.retpolines for figure in figures} == set(_MITIGATIONS):
            reuse.keep_costs(kernel, spec, objects[spec.id], figures)
    return found + [figure for figures in new.values() for figure in figures]


def _measurable(spec: CellSpec) -> bool:
    return spec.case is not None and bool(cost.steps(spec.roots, spec.case.kinds))


def _measure(
    guests: Guests,
    kit: Kit,
    store: RunStore,
    kernel: Kernel,
    specs: Sequence[CellSpec],
    objects: dict[str, Path],
    retpolines: bool,
    task: Task,
) -> list[CostFigure]:
    todo = _plan(kit, specs, objects)
    by_id = {spec.id: spec for spec in specs}
    shape = Shape(memory_mib=kernel.memory_mib, icount=True)
    found: list[CostFigure] = []
    while todo.pending:
        with guests.boot(
            kernel, store.console(kernel.name), shape=shape, append=_MITIGATIONS[retpolines]
        ) as machine:
            while todo.pending and machine.usable:
                todo.current = ""
                try:
                    for line in stream(machine, list(todo.pending.values()), todo.objects):
                        if isinstance(line, protocol.Start):
                            todo.current = line.id
                        elif isinstance(line, protocol.Loaded):
                            figures = _figures(todo, by_id.get(line.id), kernel.name, retpolines, line)
                            store.add_costs(figures)
                            found += figures
                            task.update(len(found), None)
                except GuestError as error:
                    _lose(todo, error)
                    if not isinstance(error, RunnerDied):
                        break
    return found


def _lose(todo: _Pass, error: GuestError) -> None:
    """Go on without the load the guest died in. Raises InfraError where it died in none."""
    if not todo.current:
        msg = f"cost pass: {error.message}"
        raise InfraError(msg)
    todo.pending.pop(todo.current, None)


def _plan(kit: Kit, specs: Sequence[CellSpec], objects: dict[str, Path]) -> _Pass:
    """Empty programs first, one object each: a kind that this kernel lacks costs its own figures only."""
    todo = _Pass({}, {})
    for kind in cost.measured_kinds():
        name = f"empty.{kind.name}.bpf.o"
        source = cost.empty_source(kind)
        todo.objects[name] = compiling.compile_source(kit.toolchain, kit.objects, source, name)
        steps = cost.steps([cost.EMPTY_ROOT], [kind])
        todo.pending[_empty_id(kind.name)] = cost.load(
            _empty_id(kind.name), "duplicate", name, [cost.EMPTY_ROOT], steps
        )
    for spec in specs:
        assert spec.case is not None  # noqa: S101
        full = spec.load(1.0)
        todo.objects[full.object] = objects[spec.id]
        steps = cost.steps(spec.roots, spec.case.kinds)
        todo.pending[spec.id] = cost.load(spec.id, spec.mechanism, full.object, spec.roots, steps)
    return todo


def _empty_id(kind: str) -> str:
    return f"empty#{kind}"


def _figures(
    todo: _Pass, spec: CellSpec | None, kernel: str, retpolines: bool, loaded: protocol.Loaded
) -> list[CostFigure]:
    """Take one load off the list; its figures, none for an empty program."""
    load = todo.pending.pop(loaded.id)
    inputs = {step: cost.input_name(load.steps[step]) for step in {found.step for found in loaded.costs}}
    if spec is None:
        kind = loaded.id.removeprefix("empty#")
        for found in loaded.costs:
            if (value := analysis.per_run(found)) is not None:
                todo.empty[kind, inputs[found.step]] = value
        return []
    assert spec.case is not None  # noqa: S101
    kinds = {name: kind.name for name, kind in zip(spec.roots, spec.case.kinds, strict=True)}
    figures = []
    for found in loaded.costs:
        value = analysis.net(found, todo.empty.get((kinds[found.root], inputs[found.step])))
        if value is not None:
            figures.append(
                CostFigure(
                    spec.name, kernel, spec.mechanism, found.root, inputs[found.step], retpolines, value
                )
            )
    return figures
