"""The documentation is plain English: none of the words below, and prose of at most 80 columns."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from markdown_it import MarkdownIt
from markdown_it.token import Token

from tests import ROOT

_COLUMNS = 80
# Each has a word that a kernel developer reads without stopping: docs/glossary.md, or fix, compared with,
# interrupted, is missing, no one, continue, our.
_AVOIDED = re.compile(
    r"\b(mend(s|ed|ing)?|(held|holds?|holding) against|(broken|breaks?|broke) off|lack(s|ed|ing)?"
    r"|(nobody|somebody)('s)?|(go|goes|going|went|gone) on|of ours|said so)\b",
    re.IGNORECASE,
)
_NOT_PROSE = ("kernels/patches", "results/2", ".venv", ".tox")


def _documents() -> list[Path]:
    found = (path.relative_to(ROOT) for path in ROOT.rglob("*.md"))
    return sorted(
        path
        for path in found
        if not any(part.startswith(".") for part in path.parts) and not str(path).startswith(_NOT_PROSE)
    )


def _texts(text: str) -> Iterator[tuple[Token, bool]]:
    """Everything in ``text`` that is no code, and whether it is in a table."""
    in_table = False
    for token in MarkdownIt().enable("table").parse(text):
        if token.type in ("table_open", "table_close"):
            in_table = token.nesting > 0
        elif token.type == "inline":
            yield token, in_table


def _words(token: Token) -> str:
    return "".join(child.content if child.type == "text" else " " for child in token.children or [])


def _faults(text: str) -> list[str]:
    lines = text.splitlines()
    found = []
    for token, in_table in _texts(text):
        assert token.map
        first, end = token.map
        found += [f"{first + 1}: {match[0]!r}" for match in _AVOIDED.finditer(_words(token))]
        # A line of one word, a link for example, cannot be wrapped.
        found += [
            f"{number}: {len(line)} columns"
            for number, line in enumerate(lines[first:end], first + 1)
            if not in_table and len(line) > _COLUMNS and len(line.lstrip("- ").split()) > 1
        ]
    return found


def test_the_documents_are_found() -> None:
    assert {Path("README.md"), Path("docs/README.md"), Path("kernels/README.md")} <= set(_documents())


@pytest.mark.parametrize("path", _documents(), ids=str)
def test_prose_is_plain_and_narrow(path: Path) -> None:
    assert _faults((ROOT / path).read_text()) == []


@pytest.mark.parametrize(
    ("text", "faults"),
    [
        ("A fault is mended.\n", ["1: 'mended'"]),
        ("- Nights are\n  held\n  against others.\n", ["1: 'held against'"]),
        ("# Title\n\n| a |\n|---|\n| a lack of it |\n", ["5: 'lack'"]),
        ("Fine.\n\n" + "word " * 16 + "word\n", ["3: 84 columns"]),
        ("- " + "word " * 16 + "word\n", ["1: 86 columns"]),
        # Code, tables and a link that cannot be wrapped may be wide; code may have any word.
        ("Run `mend`:\n\n    mend " + "word " * 20 + "\n\n```\nsomebody\n```\n", []),
        ("| " + "word " * 20 + " |\n|---|\n| " + "word " * 20 + " |\n", []),
        ("- https://example.org/" + "path/" * 20 + "\n", []),
        ("A black background recommends itself.\n", []),
    ],
)
def test_a_fault_is_found(text: str, faults: list[str]) -> None:
    assert _faults(text) == faults
