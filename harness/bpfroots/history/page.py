"""The page of a job's nights: what got worse since when, what is flaky, and plots over runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from bpfroots.history.database import History, Recorded
from bpfroots.history.terminal import flaky_line, value
from bpfroots.history.trend import Finding, Trend
from bpfroots.report import html
from bpfroots.report.plots import Curves, over_runs
from bpfroots.results.figures import FIGURES, head
from bpfroots.results.model import BAD, Cell
from bpfroots.results.store import CELLS

#: In the folder report/ of a run.
PAGE = "history.html"
# Runs that plots show, findings that have a plot of their own, and findings in a table.
_RUNS, _PLOTS, _ROWS = 30, 12, 500


class _Row(NamedTuple):
    """A finding as the page has it; links are "" where nothing is left to point at."""

    finding: Finding
    kind: str
    before: str
    after: str
    page: str
    first_bad: str
    last_good: str
    artefacts: str


class _NightLine(NamedTuple):
    run: Recorded
    cells: int
    bad: int
    link: str


def write(history: History, run: Recorded, found: Trend, run_dir: Path, cells: Sequence[Cell]) -> Path:
    """Write report/history.html into the folder of ``run``, whose ``cells`` have their pages there."""
    runs = history.runs(run.job)
    runs = runs[: [one.id for one in runs].index(run.id) + 1][-_RUNS:]
    pages = html.pages(cells)
    return html.write_page(
        run_dir / "report" / PAGE,
        "history.html.j2",
        run=run,
        trend=found,
        regressions=[_row(finding, run_dir, pages) for finding in found.regressions[:_ROWS]],
        better=[_row(finding, run_dir, pages) for finding in found.better[:_ROWS]],
        flaky=[flaky_line(flaky) for flaky in found.flaky],
        plots=[*_of_findings(history, found, runs), *_totals(history, found, runs)],
        nights=_nights(history, runs, run_dir),
        marked={finding.first_bad for finding in found.regressions},
    )


def _nights(history: History, runs: Sequence[Recorded], run_dir: Path) -> list[_NightLine]:
    """The newest first."""
    outcomes = history.outcomes([run.id for run in runs])
    found = []
    for run in reversed(runs):
        counts = outcomes.get(run.id, {})
        bad = sum(count for outcome, count in counts.items() if outcome in BAD)
        found.append(_NightLine(run, sum(counts.values()), bad, _link(run.name, run_dir)))
    return found


def _link(name: str, run_dir: Path) -> str:
    """The report of another run, from report/ of this one."""
    there = bool(name) and (run_dir.parent / name / "report/index.html").is_file()
    return f"../../{name}/report/index.html" if there else ""


def _row(finding: Finding, run_dir: Path, pages: Mapping[str, str]) -> _Row:
    folder = Path(CELLS) / finding.key.path
    return _Row(
        finding,
        head(finding.kind),
        value(finding.before),
        value(finding.after),
        pages.get(finding.case, ""),
        _link(finding.first_bad, run_dir),
        _link(finding.last_good, run_dir),
        f"../{folder}/" if (run_dir / folder).is_dir() else "",
    )


def _of_findings(history: History, found: Trend, runs: Sequence[Recorded]) -> list[Curves]:
    """A plot for each figure of a cell that is worse, its first bad run marked."""
    numbers = {run.id: number for number, run in enumerate(runs)}
    names = [run.name for run in runs]
    plots = []
    for finding in [one for one in found.regressions if one.ratio is not None][:_PLOTS]:
        line = history.of_case(finding.case)[finding.key]
        points = [
            (numbers[run], state.figures[finding.kind])
            for run, state in line
            if run in numbers and state.verdict == "accept" and finding.kind in state.figures
        ]
        marks = [number for number, name in enumerate(names) if name == finding.first_bad]
        title = f"{finding.case}: {head(finding.kind)}"
        note = f"{finding.mechanism}, {finding.kernel}"
        plots.append(over_runs(title, note, names, {finding.mechanism: points}, marks))
    return plots


def _totals(history: History, found: Trend, runs: Sequence[Recorded]) -> list[Curves]:
    """What all cells together take, to the first of the runs; one plot for a kernel and figure."""
    if len(runs) < 2:
        return []
    sums = history.totals([run.id for run in runs])
    names = [run.name for run in runs]
    firsts = {finding.first_bad for finding in found.regressions}
    marks = [number for number, name in enumerate(names) if name in firsts]
    plots = []
    for kernel in sorted({kernel for kernel, _ in sums}):
        for figure in [figure for figure in FIGURES if figure.totalled]:
            over: dict[str, list[tuple[int, float]]] = {}
            for mechanism in [mechanism for of, mechanism in sums if of == kernel]:
                values = [sums[kernel, mechanism].get(run.id, {}).get(figure.name) for run in runs]
                if values[0]:
                    over[mechanism] = [(n, v / values[0]) for n, v in enumerate(values) if v is not None]
            if over:
                note = f"{kernel}; sum over the cells accepted in all {len(runs)} runs, the first is 1"
                plots.append(over_runs(figure.head, note, names, over, marks))
    return plots
