"""The HTML report: a folder of static pages that opens from disk, without a network or a server."""

from __future__ import annotations

import functools
import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from importlib import resources
from pathlib import Path
from urllib.parse import quote

import jinja2
from markupsafe import Markup

from bpfroots import settings
from bpfroots.analysis import diff, verifier_log
from bpfroots.analysis.by_kernel import matrix
from bpfroots.analysis.compare import Comparison, Row, compare, refusal
from bpfroots.escape import visible
from bpfroots.report import by_kernel, case_page, junit, ktap, plots, text, veristat
from bpfroots.results.figures import BASELINE
from bpfroots.results.model import BAD, Cell, RunInfo, TestResult

_TEMPLATES = "templates"
#: The page of a load on several kernels, beside the index.
MATRIX = "by_kernel.html"


def write_reports(
    run_dir: Path, run: RunInfo, cells: Sequence[Cell], beside: Sequence[TestResult] = ()
) -> Path:
    """Write report/, junit.xml, results.ktap and the veristat CSV into the run folder.

    ``beside`` is for JUnit and KTAP only: tests that are no cells. Returns report/index.html. Safe to repeat;
    artefacts that are missing are left out.
    """
    run_dir.mkdir(parents=True, exist_ok=True)
    junit.write(run_dir / "junit.xml", [*cells, *beside])
    ktap.write(run_dir / "results.ktap", [*cells, *beside])
    veristat.write(run_dir, cells)
    return write(run_dir, run, cells)


def write(run_dir: Path, run: RunInfo, cells: Sequence[Cell]) -> Path:
    """Write the HTML pages alone. Returns the index."""
    report = run_dir / "report"
    report.mkdir(parents=True, exist_ok=True)
    comparison = compare(cells)
    by_case = pages(cells)
    (report / "report.css").write_text(_asset("report.css"), encoding="utf-8")
    rules = {"variable": verifier_log.variable(), "local": diff.LOCAL.pattern}
    defined = "".join(f"const {name} = {json.dumps(rule)};\n" for name, rule in rules.items())
    (report / "beside.js").write_text(defined + _asset("beside.js"), encoding="utf-8")
    index = report / "index.html"
    bench = (run_dir.resolve().parent / "bench" / "index.html").is_file()
    index.write_text(_index(run, cells, comparison, by_case, bench=bench), encoding="utf-8")
    if _is_matrix(run, cells):
        _write_matrix(report / MATRIX, run, cells, by_case)
    ratios = {row.key: row for row in comparison.rows}
    groups: dict[str, list[Cell]] = {case: [] for case in by_case}
    for cell in cells:
        groups[cell.case].append(cell)
    for case, page in by_case.items():
        path = report / page
        path.parent.mkdir(parents=True, exist_ok=True)
        context = case_page.context(run_dir.resolve(), groups[case], ratios, up="../" * page.count("/"))
        path.write_text(render("case.html.j2", run=run, case=case, **context), encoding="utf-8")
    return index


def write_page(path: Path, template: str, **context: object) -> Path:
    """One more page of a report, with its style. Returns ``path``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    (path.parent / "report.css").write_text(_asset("report.css"), encoding="utf-8")
    path.write_text(render(template, up="", **context), encoding="utf-8")
    return path


def _is_matrix(run: RunInfo, cells: Sequence[Cell]) -> bool:
    """A user's own programs, on several kernels."""
    loaded = run.request is not None and run.request.kind == "load"
    return loaded and len({cell.kernel for cell in cells}) > 1


def _write_matrix(path: Path, run: RunInfo, cells: Sequence[Cell], by_case: dict[str, str]) -> None:
    shown = matrix(cells)
    text = render(
        "by_kernel.html.j2",
        up="",
        run=run,
        matrix=shown,
        pages=by_case,
        heads=by_kernel.heads(shown.columns),
        word=by_kernel.word,
        places=lambda reason: by_kernel.places(reason, shown.columns),
    )
    path.write_text(text, encoding="utf-8")


def safe_path(parts: Iterable[str]) -> str:
    """A relative path of names that any file system and any URL takes."""
    return "/".join(re.sub(r"[^\w.+-]", "_", part).lstrip(".") or "_" for part in parts)


def pages(cells: Sequence[Cell]) -> dict[str, str]:
    """Case name → its page, relative to report/. Names become safe and stay unique."""
    found: dict[str, str] = {}
    taken: set[str] = set()
    for case in dict.fromkeys(cell.case for cell in cells):
        base = page = "case/" + safe_path(case.split("/"))
        number = 2
        while page in taken:
            page, number = f"{base}-{number}", number + 1
        taken.add(page)
        found[case] = page + ".html"
    return found


def _asset(name: str) -> str:
    return resources.files(__package__).joinpath(_TEMPLATES, name).read_text(encoding="utf-8")


def _visible(value: object) -> object:
    """What a template writes."""
    if isinstance(value, Markup):
        return Markup(visible(value))  # noqa: S704  (it is Markup already)
    return visible(value) if isinstance(value, str) else value


def _bytecode() -> Path:
    """Where compiled templates are kept. To compile them takes longer than to render a small report."""
    # jinja2 looks at a template's source and Python's version; its own, and how it is set up here, count too.
    made_by = jinja2.__version__.encode() + Path(__file__).read_bytes()
    path = settings.cache_root() / "report-templates" / hashlib.sha256(made_by).hexdigest()[:16]
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    return path


@functools.cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader(__package__, _TEMPLATES),
        bytecode_cache=jinja2.FileSystemBytecodeCache(str(_bytecode())),
        autoescape=True,
        finalize=_visible,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        number=text.number, ratio=text.ratio, url=lambda path: quote(path, safe="/+"), plural=text.plural
    )
    environment.globals.update(verdict=text.verdict, headline=text.headline, share=text.share, bad=BAD)
    environment.globals.update(sharing=text.sharing)
    return environment


def render(template: str, **context: object) -> str:
    """A page of ``templates/``."""
    return _environment().get_template(template).render(**context)


def _types(cell: Cell) -> str:
    return " + ".join(root.type for root in cell.roots)


def _searched(cell: Cell) -> str:
    """What a reader may look for beside what the row shows."""
    message = refusal(cell) if cell.verdict == "reject" else ""
    return " ".join(filter(None, (_types(cell), cell.in_full, message)))


def _index(
    run: RunInfo,
    cells: Sequence[Cell],
    comparison: Comparison,
    pages: dict[str, str],
    *,
    bench: bool,
) -> str:
    by_key = {cell.key: cell for cell in cells}
    rows: list[tuple[Row, Cell]] = [
        (row, by_key[row.key]) for row in sorted(comparison.rows, key=lambda row: row.case)
    ]
    totals = comparison.summary.totals
    # Ratios to a mechanism that the run does not have would be a table of dashes.
    has_baseline = any(total.mechanism == BASELINE for total in totals)
    return render(
        "index.html.j2",
        run=run,
        summary=comparison.summary,
        plots=plots.plots(comparison),
        rows=[(row, _types(cell), _searched(cell)) for row, cell in rows],
        pages=pages,
        outcomes=_outcomes(cells),
        columns=text.columns(comparison.rows),
        headline_columns=text.headlines(totals) if has_baseline else [],
        kernels=list(dict.fromkeys(row.kernel for row, _ in rows)),
        mechanisms=list(dict.fromkeys(total.mechanism for total in totals)),
        types=sorted({root.type for _, cell in rows for root in cell.roots}),
        verdicts=sorted({text.verdict(row.verdict, row.outcome) for row, _ in rows}),
        script=_asset("table.js"),
        bench=bench,
        matrix=MATRIX if _is_matrix(run, cells) else "",
    )


_WORDS = {"pass": "as expected", "xfail": "expected failures", "skip": "not expressible"}


def _outcomes(cells: Sequence[Cell]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for cell in cells:
        word = "not as expected" if cell.outcome in BAD else _WORDS.get(cell.outcome, cell.outcome)
        counts[word] = counts.get(word, 0) + 1
    return counts
