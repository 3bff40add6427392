"""What `bench` has measured, for a terminal, and as rows of the report."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from rich.table import Table

from bpfroots.bench.model import SECONDS, Measurement, Spread
from bpfroots.report.terminal import console


class BenchRow(NamedTuple):
    """One measurement, or a figure beside one, in words."""

    name: str
    ours: str
    spread: str
    peer: str
    peer_name: str
    ratio: str
    context: str
    what: str


def rows(found: Mapping[str, Measurement]) -> list[BenchRow]:
    """One per measurement, and one per figure beside it."""
    listed: list[BenchRow] = []
    for name, one in found.items():
        where = one.context
        context = f"{where.kernel} {where.release}, {where.accel}, {where.started[:10]}"
        peer = one.peer
        listed.append(
            BenchRow(
                name,
                _figure(one.ours.median, one.unit),
                _spread(one.ours, one.unit),
                _figure(peer.median, one.unit) if peer else "none",
                peer.name if peer else one.reason,
                "" if one.ratio is None else f"{one.ratio:.2f}",
                context,
                one.what,
            )
        )
        for key, spread in one.more.items():
            label = f"{name}, {key.replace('_', ' ')}"
            figures = _figure(spread.median, one.unit), _spread(spread, one.unit)
            listed.append(BenchRow(label, *figures, "", "", "", context, one.what))
    return listed


def print_bench(found: Mapping[str, Measurement]) -> None:
    """A table; then what each line is."""
    out = console()
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for head in ("", "ours", "min .. max", "peer", "", "times better"):
        table.add_column(head, overflow="fold")
    for row in rows(found):
        table.add_row(row.name, row.ours, row.spread, row.peer, row.peer_name, row.ratio)
    out.print(table if found else "nothing measured yet: bpfroots bench")
    for name, one in found.items():
        where = one.context
        out.print(f"{name}: {one.what}")
        out.print(
            f"  {one.runs} runs of each in turn, medians; {where.kernel} ({where.release}, {where.accel}), "
            f"{where.cores} cores, load {where.load}, {where.started}"
        )


def _figure(value: float, unit: str) -> str:
    return f"{value:.3f} s" if unit == SECONDS else f"{value:,.0f} {unit}"


def _spread(spread: Spread, unit: str) -> str:
    digits = 3 if unit == SECONDS else 0
    return f"{spread.min:,.{digits}f} .. {spread.max:,.{digits}f}"
