"""The cost pass: instructions per run of every accepted root, from machines that count them.

In a machine with `-icount shift=0` a nanosecond of guest time is an instruction. The figures are exact
and the same in every boot; they show work, not time: no cache, no pipeline, no misprediction. Where
KVM runs guests, time is measured beside it: the median of a few samples, on this host at this moment.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bpfroots.analysis import cost as analysis
from bpfroots.errors import GuestError, InfraError
from bpfroots.jobs import crew, schedule
from bpfroots.jobs.guests import Guests
from bpfroots.jobs.kit import Kit
from bpfroots.jobs.reuse import Reuse
from bpfroots.jobs.runner import RunnerDied, stream
from bpfroots.jobs.site import Site
from bpfroots.jobs.spec import CellFiles, CellSpec
from bpfroots.kernels import Kernel
from bpfroots.machine import Accel, Machine, choose_accel
from bpfroots.programs import compile as compiling
from bpfroots.programs import cost, protocol
from bpfroots.progress import Task
from bpfroots.results.key import Key
from bpfroots.results.model import Cell, CostFigure, Measure
from bpfroots.shape import Shape

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Way:
    """A machine to measure in. nokaslr: a program that prints an address prints as many digits in every
    boot."""

    measure: Measure
    append: tuple[str, ...] = ("nokaslr",)
    icount: bool = True

    @property
    def sampling(self) -> cost.Sampling:
        return cost.SINGLY if self.icount else cost.MEANS

    def per_run(self, samples: protocol.Samples) -> analysis.PerRun | None:
        return analysis.most_often(samples) if self.icount else analysis.median(samples)


#: Waits until Linux has chosen the clock that it stays with. A second after its start x86 goes from tsc-early
#: to tsc, and since 7.3 reads that without a call (kernel/time/timekeeping.c, tk_clock_read()): from then on
#: a program that asks for the time takes fewer instructions.
CLOCK = "/sys/devices/system/clocksource/clocksource0/current_clocksource"
SETTLED = f"while grep -qs -e -early {CLOCK}; do sleep 0.1; done"

_INSNS = (Way("insns_per_run"), Way("insns_per_run_no_retpolines", ("nokaslr", "spectre_v2=off")))
#: Time; only of interest where the guest runs at the speed of its host.
WALL = Way("ns_per_run", icount=False)


def ways(kernel: Kernel, accel: Accel) -> tuple[Way, ...]:
    """What can be measured of a kernel on this host: instructions where its definition does not rule that
    out (``icount``), time where it is not the emulator's."""
    return (*(_INSNS if kernel.countable else ()), *((WALL,) if accel.name == "kvm" else ()))


@dataclass
class _Pass:
    """What is left to measure, and what an empty program of each kind takes. ``kinds`` are those of the empty
    programs, by load."""

    way: Way
    pending: dict[str, protocol.Load]
    objects: dict[str, Path]
    empty: dict[tuple[str, str], analysis.PerRun | None] = field(default_factory=dict)
    kinds: dict[str, str] = field(default_factory=dict)
    current: str = ""


@dataclass(frozen=True)
class Meter:
    """Measures cells of a run; ``objects`` are theirs, by `CellSpec.key`. ``reuse``: figures of cells that
    were measured before come from there."""

    site: Site
    objects: dict[Key, CellFiles]
    reuse: Reuse | None = None

    @property
    def accel(self) -> Accel:
        """Costs are counted here, wherever cells ran: they are the same on every machine, and few."""
        return choose_accel() if self.site.executor else self.site.accel

    def measure(
        self, kernel: Kernel, specs: Sequence[CellSpec], cells: Iterable[Cell], task: Task
    ) -> list[CostFigure]:
        """Measure the accepted cells of a kernel, in each of its `ways`. Figures are in the run
        folder before the next cell is measured; a cell whose guest dies has none. The task's summary counts
        both."""
        accepted = {cell.key for cell in cells if cell.verdict == "accept"}
        wanted = [s for s in specs if s.key.on(kernel.name) in accepted and _measurable(s)]
        known, wanted = self._known(kernel, wanted)
        measured = ways(kernel, self.accel)
        new: dict[Key, list[CostFigure]] = {}
        for done, figure in enumerate(self._figures(kernel, wanted, measured) if wanted else (), 1):
            new.setdefault(figure.key.anywhere, []).append(figure)
            task.update(done, None)
        found = known + [figure for figures in new.values() for figure in figures]
        task.summary = f"{len(found)} figures"
        if without := sum(spec.key not in new for spec in wanted):
            task.summary += f"; {without} cells could not be measured (run.log says why)"
        for spec in wanted:
            figures = new.get(spec.key, [])
            if self.reuse and {figure.measure for figure in figures} == {way.measure for way in measured}:
                self.reuse.keep_costs(kernel, spec, self.objects[spec.key], figures)
        return found

    def _figures(
        self, kernel: Kernel, specs: list[CellSpec], measured: Sequence[Way]
    ) -> Generator[CostFigure, None, None]:
        """Instructions of all ways at once: they are the same whatever else runs. Time by itself, after."""
        counted = [way for way in measured if way.icount]
        guests = Guests(self.site.kit, choose_accel("tcg"))
        count = min(len(counted), schedule.guests_at_once(kernel.shape, self.site.guests))
        counters = [Measuring(self, guests, kernel, specs) for _ in range(count)]
        yield from crew.spread(counters, counted)
        timed = [way for way in measured if not way.icount]
        if timed:
            yield from crew.spread([Measuring(self, Guests(self.site.kit, self.accel), kernel, specs)], timed)

    def _known(self, kernel: Kernel, specs: list[CellSpec]) -> tuple[list[CostFigure], list[CellSpec]]:
        """Figures that an earlier run has, and the cells that are left to measure."""
        if not self.reuse:
            return [], specs
        known = {s.key: self.reuse.costs(kernel, s, self.objects[s.key]) for s in specs}
        found = [figure for figures in known.values() if figures is not None for figure in figures]
        self.site.store.add_costs(found)
        return found, [s for s in specs if known[s.key] is None]


class Measuring:
    """Measures accepted cells of a kernel, one way after another; for `crew.spread`."""

    def __init__(self, meter: Meter, guests: Guests, kernel: Kernel, specs: Sequence[CellSpec]) -> None:
        """``guests`` are what the ways need: machines that count, or not."""
        self._meter = meter
        self._guests = guests
        self._kernel = kernel
        self._specs = specs
        self._lock = threading.Lock()
        self._machine: Machine | None = None
        self._stopped = False

    def run(self, way: Way, /) -> Iterator[CostFigure]:
        """Each figure is in the run folder before the next cell is measured.

        Raises KernelError, InfraError.
        """
        site, kernel = self._meter.site, self._kernel
        todo = _plan(site.kit, way, self._specs, self._meter.objects)
        by_id = {spec.id: spec for spec in self._specs}
        shape = Shape(memory_mib=kernel.shape.memory_mib, icount=way.icount)
        while todo.pending and not self._stopped:
            console = site.store.console(kernel.name)
            with self._guests.boot(kernel, console, shape=shape, append=way.append) as machine:
                self._take(machine)
                while todo.pending and machine.usable:
                    todo.current = ""
                    try:
                        machine.output(SETTLED)
                        for line in stream(machine, list(todo.pending.values()), todo.objects):
                            if isinstance(line, protocol.Start):
                                todo.current = line.id
                            elif isinstance(line, protocol.Loaded):
                                figures = _figures(todo, by_id.get(line.id), kernel.name, line)
                                site.store.add_costs(figures)
                                yield from figures
                    except GuestError as error:
                        if self._stopped:
                            return
                        _lose(todo, error)
                        if not isinstance(error, RunnerDied):
                            break

    def stop(self) -> None:
        """End its guest, and with it `run`."""
        with self._lock:
            self._stopped = True
            if self._machine:
                self._machine.close()

    def close(self) -> None:
        """Nothing is left: `run` ends its own guests."""

    def _take(self, machine: Machine) -> None:
        with self._lock:
            self._machine = machine
            if self._stopped:
                machine.close()


def _measurable(spec: CellSpec) -> bool:
    return spec.case is not None and bool(cost.steps(spec.roots, spec.case.kinds))


def _lose(todo: _Pass, error: GuestError) -> None:
    """Continue without the load the guest died in. Raises InfraError where it died in none."""
    if not todo.current:
        msg = f"cost pass: {error.message}"
        raise InfraError(msg)
    _log.warning("%s: %s not measured: %s", todo.current, todo.way.measure, error.message)
    todo.pending.pop(todo.current, None)


def _plan(kit: Kit, way: Way, specs: Sequence[CellSpec], objects: dict[Key, CellFiles]) -> _Pass:
    """Empty programs first, one object each: a kind missing in this kernel costs its own figures only."""
    todo = _Pass(way, {}, {})
    for kind in cost.measured_kinds():
        name = f"empty.{kind.name}.bpf.o"
        source = cost.empty_source(kind).encode()
        todo.objects[name] = compiling.compile_source(kit.toolchain, kit.objects, source, name)
        steps = cost.steps([cost.EMPTY_ROOT], [kind], way.sampling)
        order = protocol.Load(f"empty/{kind.name}", "duplicate", name, [cost.EMPTY_ROOT])
        todo.kinds[order.id] = kind.name
        todo.pending[order.id] = cost.load(order, steps)
    for spec in specs:
        assert spec.case is not None  # noqa: S101
        order = spec.load(1.0)
        todo.objects |= objects[spec.key].of(order)
        todo.pending[spec.id] = cost.load(order, cost.steps(spec.roots, spec.case.kinds, way.sampling))
    return todo


def _figures(todo: _Pass, spec: CellSpec | None, kernel: str, loaded: protocol.Loaded) -> list[CostFigure]:
    """Take one load off the list; its figures, none for an empty program."""
    load = todo.pending.pop(loaded.id)
    if loaded.error:
        _log.warning("%s: %s not measured: %s", loaded.id, todo.way.measure, loaded.error)
    inputs = {step: cost.input_name(load.steps[step]) for step in {found.step for found in loaded.costs}}
    if spec is None:
        for found in loaded.costs:
            todo.empty[todo.kinds[loaded.id], inputs[found.step]] = todo.way.per_run(found)
        return []
    assert spec.case is not None  # noqa: S101
    kinds = {name: kind.name for name, kind in zip(spec.roots, spec.case.kinds, strict=True)}
    figures = []
    for found in loaded.costs:
        source = inputs[found.step]
        net = analysis.net(todo.way.per_run(found), todo.empty.get((kinds[found.root], source)))
        if net is not None:
            where = (spec.name, kernel, spec.mechanism, found.root, source)
            figures.append(CostFigure(*where, todo.way.measure, net.value, net.exact, spec.attempt))
    return figures
