"""Sources that are not on this machine: Debian suites, tarballs by URL, git remotes; several places in order.

The archives are directories of this machine, and apt, git and HTTP are the real ones.
"""

from __future__ import annotations

import functools
import hashlib
import http.server
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from bpfroots.errors import InfraError, UserError
from bpfroots.kernels import Definition, debian, is_built, resolve, source, spec
from bpfroots.progress import Progress
from tests.kernel_project import FAKE, Project, Tree, patch, project, tarball

_CONFIG = 'config = ["base"]\n'
_OLD, _NEW = "7.3.3-1", "7.3.4-1"


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Project]:
    with project(tmp_path, monkeypatch) as made:
        yield made


class Archive:
    """A Debian archive of one suite, unsigned, with versions of the package linux-source-9."""

    def __init__(self, root: Path) -> None:
        self.root = root / "debian"
        self.apt = root / "apt"
        (self.apt / "sources.list.d").mkdir(parents=True)
        self._packages: list[str] = []

    def add(self, version: str) -> None:
        tree = self.root / f"tree-{version}"
        sources = tree / "usr/src"
        sources.mkdir(parents=True)
        tarball(FAKE, sources / "linux-source-9.tar.xz")
        (tree / "DEBIAN").mkdir()
        control = f"Package: linux-source-9\nVersion: {version}\nArchitecture: all\n"
        control += "Maintainer: A <a@example.org>\nDescription: a kernel\n"
        (tree / "DEBIAN/control").write_text(control)
        deb = self.root / f"pool/linux-source-9_{version}_all.deb"
        deb.parent.mkdir(exist_ok=True)
        subprocess.run(["dpkg-deb", "-b", "-Znone", tree, deb], check=True, stdout=subprocess.DEVNULL)
        digest = hashlib.sha256(deb.read_bytes()).hexdigest()
        where = f"Filename: pool/{deb.name}\nSize: {deb.stat().st_size}\nSHA256: {digest}\n"
        self._packages.append(control + where)
        self.publish()

    def drop(self, version: str) -> None:
        self._packages = [entry for entry in self._packages if f"Version: {version}\n" not in entry]
        self.publish()

    def publish(self) -> None:
        suite = self.root / "dists/later"
        packages = suite / "main/binary-amd64/Packages"
        packages.parent.mkdir(parents=True, exist_ok=True)
        packages.write_text("\n".join(self._packages))
        content = packages.read_bytes()
        digest = hashlib.sha256(content).hexdigest()
        (suite / "Release").write_text(
            "Origin: Debian\nSuite: later\nCodename: later\nComponents: main\nArchitectures: amd64 all\n"
            "Date: Thu, 01 Jan 2026 00:00:00 UTC\n"
            f"SHA256:\n {digest} {len(content)} main/binary-amd64/Packages\n"
        )

    def configure(self, options: str) -> None:
        text = f"Types: deb\nURIs: file://{self.root}\nSuites: bookworm\nComponents: main\n{options}"
        (self.apt / "sources.list.d/debian.sources").write_text(text)


@pytest.fixture
def archive(fake: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Archive:
    made = Archive(tmp_path / "mirror")
    made.configure("Trusted: yes\n")
    monkeypatch.setenv(debian.APT, str(made.apt))
    return made


def _suite(version: str) -> str:
    return (
        f'[[source]]\ntype = "debian-source"\npackage = "linux-source-9"\nversion = "{version}"\n'
        'suites = ["later"]\n'
    )


def test_a_package_of_another_suite(fake: Project, archive: Archive) -> None:
    archive.add(_OLD)
    archive.add(_NEW)
    fake.define("old", _CONFIG + _suite(_OLD))
    assert not is_built(resolve("old"))  # and fetches nothing
    assert debian.fetched("linux-source-9", _OLD) is None
    kernel = fake.ensure("old")
    assert kernel.made.source_id.startswith(f"linux-source-9={_OLD} sha256:")
    assert f"linux-source-9 {_OLD} from later" in fake.said.getvalue()
    assert is_built(resolve("old"))
    # Once fetched, it needs no archive.
    archive.drop(_OLD)
    assert fake.ensure("old").key == kernel.key
    assert "from later" not in fake.said.getvalue()


def test_a_version_that_is_gone(fake: Project, archive: Archive) -> None:
    archive.add(_NEW)
    fake.define("gone", _CONFIG + _suite("7.3.2-1"))
    kernel = fake.ensure("gone")
    assert kernel.made.source_id.startswith(f"linux-source-9={_NEW} ")
    assert f"linux-source-9 7.3.2-1 is gone from the archive; taking {_NEW}" in fake.said.getvalue()


def test_an_archive_that_is_not_signed_is_refused(fake: Project, archive: Archive) -> None:
    archive.add(_NEW)
    archive.configure("")
    fake.define("new", _CONFIG + _suite(_NEW))
    with pytest.raises(InfraError, match="is not signed"):
        fake.ensure("new")
    assert debian.fetched("linux-source-9", _NEW) is None


def test_a_suite_of_an_archive_that_is_not_there(fake: Project, archive: Archive) -> None:
    archive.add(_NEW)
    fake.define("new", _CONFIG + _suite(_NEW).replace('"later"', '"later-security"'))
    with pytest.raises(InfraError, match="does not install from Debian's security archive"):
        fake.ensure("new")
    fake.define("other", _CONFIG + _suite(_NEW).replace("linux-source-9", "linux-source-8"))
    with pytest.raises(InfraError, match="no package linux-source-8 in later"):
        fake.ensure("other")


def test_sources_lists_in_both_forms(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(debian.APT, str(tmp_path))
    (tmp_path / "sources.list.d").mkdir()
    (tmp_path / "sources.list").write_text(
        "# deb http://example.org/debian old main\n"
        "deb [signed-by=/k.gpg arch=amd64] http://example.org/debian bookworm main contrib\n"
        "deb-src http://example.org/debian bookworm main\n"
        "deb http://example.org/tools bookworm main\n"
    )
    (tmp_path / "sources.list.d/more.sources").write_text(
        "# a comment\nTypes: deb deb-src\nURIs: http://example.org/debian-security/\n"
        "Suites: bookworm-security\n"
        "Components: main\nSigned-By:\n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n abc\n"
        "\nTypes: deb\nURIs: http://example.org/debian\nSuites: bookworm\nComponents: contrib\n"
    )
    key = "Signed-By: \n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n abc"
    assert debian.archives() == [
        debian.Archive(
            "http://example.org/debian", ("bookworm",), ("signed-by: /k.gpg", "Architectures: amd64")
        ),
        debian.Archive("http://example.org/debian-security/", ("bookworm-security",), (key,)),
    ]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """A web server on the directory ``www``."""
    (tmp_path / "www").mkdir()
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(tmp_path / "www"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as made:
        threading.Thread(target=made.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{made.server_address[1]}"
        made.shutdown()


def test_a_tarball_by_its_url(fake: Project, tmp_path: Path, server: str) -> None:
    path = tmp_path / "www/linux-9.1.tar.xz"
    tarball(FAKE, path)
    url = f"{server}/{path.name}"
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    wrong = "0" * 64
    fake.define("web", f'{_CONFIG}[source]\ntype = "tarball"\nurl = "{url}"\nsha256 = "{wrong}"\n')
    with pytest.raises(InfraError, match=f"its SHA-256 is {digest}, not {wrong}"):
        fake.ensure("web")
    fake.define("web", f'{_CONFIG}[source]\ntype = "tarball"\nurl = "{url}"\nsha256 = "{digest}"\n')
    assert not is_built(resolve("web"))
    kernel = fake.ensure("web")
    assert kernel.made.source_id == f"linux-9.1.tar.xz sha256:{digest}"
    # The same by its URL alone, and from a file.
    assert fake.ensure(url).name == "linux-9.1"
    assert fake.ensure(str(path)).name == "linux-9.1"
    path.unlink()
    assert fake.ensure("web").key == kernel.key
    with pytest.raises(InfraError, match=r"linux-9\.2\.tar\.xz: 404 "):
        fake.ensure(f"{server}/linux-9.2.tar.xz")
    with pytest.raises(UserError, match="neither a tarball nor URL@REV"):
        resolve(f"{server}/linux")


def test_a_tag_and_a_branch_of_a_remote(fake: Project, tmp_path: Path) -> None:
    upstream = Tree(tmp_path / "linux.git")
    upstream.git("branch", "-M", "main")
    upstream.git("tag", "-a", "-m", "one", "v1")
    url = f"file://{upstream.path}"
    request = resolve(f"{url}@v1")
    assert isinstance(request, Definition)
    assert request.source == spec.GitRevision(url, "v1")
    assert not is_built(request)
    tagged = fake.ensure(f"{url}@v1")
    assert tagged.name == "linux@v1"
    assert tagged.made.source_id == f"git:{upstream.git('rev-parse', 'v1^{commit}')}"
    main = fake.ensure(f"{url}@main")
    assert main.key == tagged.key
    new = upstream.edit("kernel/core.c", "return insn", "return insn + 1")
    assert fake.ensure(f"{url}@main").made.source_id == f"git:{new}"
    assert fake.compiled(next((fake.cache / "bpfroots/build").glob("linux.git-*")).name) == ["kernel/core.o"]
    assert fake.ensure(f"{url}@{new}").key == fake.ensure(f"{url}@main").key
    with pytest.raises(InfraError, match="v2 cannot be fetched"):
        fake.ensure(f"{url}@v2")
    # A tag needs no remote, once it is here.
    upstream.path.rename(tmp_path / "moved")
    assert fake.ensure(f"{url}@v1").key == tagged.key
    with pytest.raises(InfraError, match="main cannot be fetched"):
        fake.ensure(f"{url}@main")


def test_places_are_tried_in_order(fake: Project, archive: Archive, tmp_path: Path) -> None:
    archive.add(_NEW)
    missing = '[[source]]\ntype = "tarball"\npath = "nowhere.tar.xz"\n'
    fake.define("first", _CONFIG + _suite(_NEW) + missing)
    assert fake.ensure("first").made.source_id.startswith("linux-source-9=")
    assert "because of" not in fake.said.getvalue()
    fake.define("second", _CONFIG + missing + _suite(_NEW))
    assert fake.ensure("second").made.source_id.startswith("linux-source-9=")
    said = [line for line in fake.said.getvalue().splitlines() if "because of" in line]
    assert said == [
        f"source  second: linux-source-9 {_NEW}, because of {fake.root}/nowhere.tar.xz: no such tarball"
    ]
    fake.define("none", _CONFIG + missing + missing.replace("nowhere", "neither"))
    with pytest.raises(UserError, match=r"nowhere\.tar\.xz: no such tarball") as caught:
        fake.ensure("none")
    assert "neither.tar.xz: no such tarball" in caught.value.detail
    # What derives from it has the same places.
    fake.series("change", ("0001.patch", patch("kernel/core.c", "return insn", "return insn + 1")))
    fake.define("more", 'base = "second"\nseries = "change"\n')
    request = resolve("more")
    assert isinstance(request, Definition)
    assert source.locate(request, Progress(quiet=True)).id.startswith("linux-source-9=")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[source]\ntype = "tarball"\n', "exactly one of path and url"),
        ('[source]\ntype = "tarball"\npath = "a"\nurl = "http://b"\n', "exactly one of path and url"),
        ("source = []\n", "no place is named"),
        ('[source]\ntype = "tarball"\nurl = "ftp://b/linux.tar"\n', "only http, https, file are fetched"),
    ],
)
def test_sources_that_cannot_be(fake: Project, text: str, message: str) -> None:
    fake.define("bad", text if text.startswith("source") else _CONFIG + text)
    with pytest.raises(UserError, match=message):
        fake.ensure("bad")
