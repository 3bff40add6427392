"""A project with its own caches around the fake kernel tree, for the tests of bpfroots.kernels."""

from __future__ import annotations

import difflib
import io
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from bpfroots import settings
from bpfroots.kernels import Kernel, ensure, resolve
from bpfroots.progress import Progress

FAKE = Path(__file__).parent / "fakelinux"

# Any package that is installed everywhere: dpkg is asked for its version in earnest.
PACKAGE = "base-files"
INSTALLED = subprocess.run(
    ["dpkg-query", "-W", "-f", "${Version}", PACKAGE], check=True, capture_output=True, text=True
).stdout

BASELINE = f"""
config = ["base"]
[source]
type = "debian-source"
package = "{PACKAGE}"
version = "{{version}}"
[machine]
cpus = 2
"""

PATCHED = 'base = "baseline"\nseries = "change"\nprovides = ["multi_root"]\ncmdline = ["quiet"]\n'
CTX = ("kernel/verifier.c", "return -22", "return -1022")


@dataclass
class Project:
    root: Path
    cache: Path
    sources: Path
    said: io.StringIO

    @property
    def tarball(self) -> Path:
        return self.sources / f"{PACKAGE}.tar.xz"

    def define(self, name: str, text: str) -> None:
        (self.root / "kernels" / f"{name}.toml").write_text(text)

    def fragment(self, name: str, text: str) -> None:
        (self.root / "kernels" / "config" / f"{name}.config").write_text(text)

    def series(self, name: str, *patches: tuple[str, str]) -> Path:
        directory = self.root / "kernels" / "patches" / name
        directory.mkdir(parents=True, exist_ok=True)
        for file, text in patches:
            (directory / file).write_text(text)
        (directory / "series").write_text("# in order\n" + "".join(f"{file}\n" for file, _ in patches))
        return directory

    def ensure(self, argument: str, force: bool = False) -> Kernel:
        self.said.seek(0)
        self.said.truncate()
        return ensure(resolve(argument), Progress(self.said), force)

    def compiled(self, name: str) -> list[str]:
        """Objects that the last build of ``name`` compiled."""
        log = (self.cache / "bpfroots/build" / name / "artefacts/output.log").read_text()
        return [line.split()[-1] for line in log.splitlines() if line.startswith("  CC ")]


@contextmanager
def project(path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Project]:
    made = Project(path / "project", path / "cache", path / "src", io.StringIO())
    for directory in ("kernels/config", "kernels/patches", "testcases"):
        (made.root / directory).mkdir(parents=True)
    made.cache.mkdir()
    made.sources.mkdir()
    tarball(FAKE, made.tarball)
    made.fragment("base", "CONFIG_BPF=y\nCONFIG_BPF_JIT=y\n# CONFIG_MODULES is not set\n")
    made.define("baseline", BASELINE.format(version=INSTALLED))
    monkeypatch.setenv("BPFROOTS_ROOT", str(made.root))
    monkeypatch.setenv("XDG_CACHE_HOME", str(made.cache))
    monkeypatch.setenv("BPFROOTS_DEBIAN_SOURCES", str(made.sources))
    # Nothing but its own definitions.
    monkeypatch.setattr(settings, "_CHECKOUT", None)
    settings.project.cache_clear()
    yield made
    settings.project.cache_clear()


def tarball(tree: Path, target: Path) -> None:
    """As Debian's: one top directory, xz (at its fastest)."""
    subprocess.run(["tar", "-c", "-I", "xz -0", "-f", target, "-C", tree.parent, tree.name], check=True)


def copy_tree(target: Path) -> Path:
    shutil.copytree(FAKE, target)
    return target


@dataclass
class Tree:
    """The fake tree as a git repository of one commit."""

    path: Path

    def __post_init__(self) -> None:
        copy_tree(self.path)
        self.git("init", "-q")
        self.git("config", "user.name", "A")
        self.git("config", "user.email", "a@example.org")
        self.commit("first")

    def git(self, *words: str) -> str:
        done = subprocess.run(["git", "-C", self.path, *words], check=True, capture_output=True, text=True)
        return done.stdout.strip()

    def commit(self, subject: str) -> str:
        self.git("add", "-A", "-f")
        self.git("commit", "-q", "-m", subject)
        return self.git("rev-parse", "HEAD")

    def edit(self, file: str, before: str, after: str) -> str:
        path = self.path / file
        text = path.read_text()
        assert before in text
        path.write_text(text.replace(before, after, 1))
        return self.commit(f"{file}: {after}")


def patch(file: str, before: str, after: str) -> str:
    """A format-patch mail that replaces ``before`` by ``after`` in a file of the fake tree."""
    old = (FAKE / file).read_text()
    return diff(file, old, old.replace(before, after))


def diff(file: str, old: str, new: str) -> str:
    lines = difflib.unified_diff(old.splitlines(True), new.splitlines(True), f"a/{file}", f"b/{file}")
    head = f"From 1234 Mon Sep 17 00:00:00 2001\nSubject: [PATCH] {file}\n\n---\n"
    return head + "".join(lines) + "-- \n2.39\n"
