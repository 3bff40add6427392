"""The manual pages: one for each command, and nothing of its help is lost on the way through roff."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from bpfroots.cli import cli, man

_REQUESTS = {".TH", ".SH", ".TP", ".PP", ".nh", ".ad"}
_PAGES = man.pages(cli, "1.2.3")


def _commands(command: click.Command, path: str) -> Iterator[tuple[str, click.Command]]:
    yield path, command
    if isinstance(command, click.Group):
        ctx = click.Context(command)
        for name in command.list_commands(ctx):
            below = command.get_command(ctx, name)
            assert below
            yield from _commands(below, f"{path}-{name}")


_COMMANDS = dict(_commands(cli, "bpfroots"))


def _plain(page: str) -> str:
    """The text of a page as it is read."""
    lines = [line for line in page.splitlines() if not line.startswith(".")]
    text = re.sub(r"\\&|\\f[BIR]", "", " ".join(lines))
    return text.replace("\\-", "-").replace("\\e", "\\")


def test_every_command_has_a_page() -> None:
    assert set(_PAGES) == {f"{name}.1" for name in _COMMANDS}
    assert "bpfroots-kernel-check-series.1" in _PAGES


@pytest.mark.parametrize("name", _COMMANDS)
def test_a_page_is_roff(name: str) -> None:
    page = _PAGES[f"{name}.1"]
    title = name.upper().replace("-", "\\-")
    assert page.startswith(f'.TH {title} 1 "" "bpfroots 1.2.3" "bpfroots manual"\n')
    for line in page.splitlines():
        assert line
        assert not line.startswith("'")
        assert not line.startswith(".") or line.split()[0] in _REQUESTS, line
        assert not re.search(r"\\(?![-&e]|f[BR])", line), line


@pytest.mark.parametrize("name", _COMMANDS)
def test_a_page_has_all_of_the_help(name: str) -> None:
    command, text = _COMMANDS[name], _plain(_PAGES[f"{name}.1"])
    ctx = click.Context(command, info_name=name, **command.context_settings)
    for param in command.get_params(ctx):
        record = param.get_help_record(ctx)
        if isinstance(param, click.Option) and record and "--help" not in record[0]:
            assert f"{record[0]} {' '.join(record[1].split())}" in text
    for paragraph in (command.help or "").split("\n\n"):
        assert " ".join(paragraph.split()).rstrip(".") in text


def test_what_roff_would_take_for_itself_is_shown() -> None:
    @click.command()
    @click.option("--one", help=".bpf.o is a suffix")
    @click.option("--two", help="'message~REGEX' and \\d")
    def odd() -> None:
        """Odd."""

    (page,) = man.pages(odd, "0").values()
    lines = page.splitlines()
    assert "\\&.bpf.o is a suffix" in lines
    assert "\\&'message~REGEX' and \\ed" in lines


def test_groff_has_nothing_to_say_against_them(tmp_path: Path) -> None:
    if not shutil.which("groff"):
        pytest.skip("there is no groff")
    done = subprocess.run([sys.executable, "-m", "bpfroots", "man", tmp_path], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, f"{tmp_path}/bpfroots.1\n"), done.stderr
    pages = sorted(tmp_path.glob("*.1"))
    assert {page.name for page in pages} == set(_PAGES)
    for page in pages:
        rendered = subprocess.run(
            ["groff", "-man", "-ww", "-Tutf8", "-rLL=80n", page], capture_output=True, text=True, check=True
        )
        assert rendered.stderr == ""
        assert "Show this message and exit." in rendered.stdout


def test_a_directory_that_cannot_be_written_is_one_line() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "bpfroots", "man", "/proc/nowhere"], capture_output=True, text=True
    )
    assert done.returncode == 4
    assert done.stderr == "bpfroots: /proc/nowhere: cannot be written: No such file or directory\n"
