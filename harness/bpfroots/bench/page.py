"""The page of the newest measurements: results/bench/index.html, which the index of every report links to."""

from __future__ import annotations

from pathlib import Path

from bpfroots.bench import model, table
from bpfroots.report import html

#: Below `model.FOLDER`.
PAGE = "index.html"


def write(results: Path) -> Path:
    """The newest measurement of each name below ``results``. Returns the page."""
    rows = table.rows(model.newest(results))
    return html.write_page(results / model.FOLDER / PAGE, "bench.html.j2", measured=rows)
