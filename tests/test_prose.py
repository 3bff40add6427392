"""Documentation and code are plain English: none of the words below. Prose has at most 80 columns.

In Python the words are looked for in comments and string literals, elsewhere in the whole text.
"""

from __future__ import annotations

import io
import re
import tokenize
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
    r"\b(mend(s|ed|ing)?|(held|holds?|holding)\s+against|(broken|breaks?|broke)\s+off|lack(s|ed|ing)?"
    r"|(nobody|somebody)('s)?|(go|goes|going|went|gone)\s+on|of\s+ours|said\s+so)\b",
    re.IGNORECASE,
)
_CODE = (
    "harness/**/*.py",
    "harness/**/*.j2",
    "harness/**/*.js",
    "harness/**/*.txt",
    "images/init",
    "images/runner/*.[ch]",
    "testcases/**/*.j2",
    "testcases/**/*.toml",
)
_TEXT_TOKENS = frozenset({"COMMENT", "STRING", "FSTRING_MIDDLE"})
# What begins a line of a comment, and what is around a string.
_COMMENT_MARK = re.compile(r"^[ \t]*(#:?|//|/?\*+)", re.MULTILINE)
_QUOTES = re.compile(r"^[A-Za-z]*(\"\"\"|'''|\"|')|(\"\"\"|'''|\"|')$")
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


def _sources() -> list[Path]:
    return sorted({path.relative_to(ROOT) for pattern in _CODE for path in ROOT.glob(pattern)})


def _avoided(text: str, line: int = 1) -> list[str]:
    """The words to avoid in ``text``, which begins at ``line``; a line's end is a space."""
    text = _COMMENT_MARK.sub("", text)
    return [
        f"{line + text.count(chr(10), 0, match.start())}: {' '.join(match[0].split())!r}"
        for match in _AVOIDED.finditer(text)
    ]


def _python_faults(source: str) -> list[str]:
    """In comments and strings; those that follow each other are one text."""
    found: list[str] = []
    text, kind, first, last = "", "", 1, 1
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        name = tokenize.tok_name[token.type]
        if name == "NL":
            continue
        if name != kind:
            found += _avoided(text, first)
            text, kind, first = "", name, token.start[0]
            last = first
        if name in _TEXT_TOKENS:
            # An escape is no part of a word: "\\ngo".
            said = re.sub(r"\\[nt]", "  ", _QUOTES.sub("", token.string))
            text += "\n" * (token.start[0] - last) + said
            last = token.end[0]
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


def test_the_sources_are_found() -> None:
    assert {Path("harness/bpfroots/cli/run.py"), Path("images/runner/main.c")} <= set(_sources())


@pytest.mark.parametrize("path", _sources(), ids=str)
def test_code_is_in_plain_words(path: Path) -> None:
    text = (ROOT / path).read_text()
    assert (_python_faults(text) if path.suffix == ".py" else _avoided(text)) == []


@pytest.mark.parametrize(
    ("source", "faults"),
    [
        ('"""Nobody\'s."""\n', ['1: "Nobody\'s"']),
        ('def f():\n    """Nights are\n\n    held\n    against it."""\n', ["4: 'held against'"]),
        ("x = 1\n# It may go\n# on.\n", ["2: 'go on'"]),
        ("x = 1  #: It may lack it.\n", ["1: 'lack'"]),
        ('x = f"no {x} was broken off"\n', ["1: 'broken off'"]),
        ('x = ("broken "\n     "off")\n', ["1: 'broken off'"]),
        ('x = "a\\ngo on"\n', ["1: 'go on'"]),
        # Only what is text; and a comment does not continue a string.
        ("def mend(lack):\n    return lack\n", []),
        ('x = ["go",  # on\n]\n', []),
    ],
)
def test_a_fault_in_python_is_found(source: str, faults: list[str]) -> None:
    assert _python_faults(source) == faults


@pytest.mark.parametrize(
    ("source", "faults"),
    [
        ("/* What goes\n * on. */\n", ["1: 'goes on'"]),
        ("int x;\n// Somebody.\n", ["2: 'Somebody'"]),
        ("# It is mended.\n", ["1: 'mended'"]),
        ("/* It ends. */\n", []),
    ],
)
def test_a_fault_in_other_code_is_found(source: str, faults: list[str]) -> None:
    assert _avoided(source) == faults
