"""The sources of testcases/insn: the kernel's style, names that are unique and mean something."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from bpfroots import process, settings
from bpfroots.kernels import check
from testcases.test_naive import CHECKS
from tests import ROOT

_INSN = ROOT / "testcases" / "insn"
_SOURCES = sorted(_INSN.glob("*.[ch]"))


@pytest.fixture(scope="module")
def checkpatch() -> Path:
    scripts = sorted((settings.cache_root() / "source").glob("*/linux/scripts/checkpatch.pl"))
    if not scripts:
        pytest.skip("no kernel source in the cache: bpfroots kernel build baseline")
    return scripts[0]


def _complaints(checkpatch: Path, *files: Path) -> str:
    ignored = ",".join(check._ignored(_INSN / check.IGNORED))
    options = ("--no-tree", "--strict", "--show-types", "--no-color", f"--ignore={ignored}")
    done = process.run(["perl", checkpatch, *options, "-f", *files], timeout=600)
    text = done.stdout.decode(errors="replace")
    assert text.count("\ntotal:") + text.startswith("total:") == len(files), text[-1000:]
    return text if done.returncode else ""


def _names(text: str) -> list[str]:
    return re.findall(r"^\t\t\.name = \"(.*)\",", text, flags=re.MULTILINE)


def test_checkpatch_is_content(checkpatch: Path) -> None:
    assert _complaints(checkpatch, *_SOURCES) == ""


def test_checkpatch_sees_what_is_against_the_style(checkpatch: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.c"
    bad.write_text((_INSN / "main.c").read_text().replace("int i;", "int i; "))
    assert "TRAILING_WHITESPACE" in _complaints(checkpatch, bad)


def test_names_are_unique_and_of_the_form_of_identifiers() -> None:
    names = [name for source in _SOURCES for name in _names(source.read_text())]
    assert len(names) > 200
    assert sorted(set(names)) == sorted(names)
    assert [name for name in names if not re.fullmatch(r"[a-z][a-z0-9_]+", name)] == []


def test_every_group_is_run() -> None:
    groups = re.findall(r"\t&(\w+)_group,", (_INSN / "groups.c").read_text())
    defined = [
        name
        for source in _SOURCES
        for name in re.findall(r"^const struct insn_group (\w+)_group = ", source.read_text(), re.MULTILINE)
    ]
    assert sorted(groups) == sorted(defined)
    assert all((_INSN / f"{name}.c").is_file() for name in groups)


def test_attacks_that_naive_names_exist() -> None:
    literals = {
        name for source in _SOURCES for name in re.findall(r"\"([a-z][a-z0-9_]+)\"", source.read_text())
    }
    named = {case.partition("/")[0] for dropped in CHECKS for case in dropped.fail}
    assert named - literals == set()
