"""Packages of Debian suites that this machine does not install from.

apt gets a state of its own, in the cache: its lists, its archives, and a sources list made from the
machine's own archive and keyring. Nothing of the system changes, and signatures are checked as ever.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bpfroots import cache
from bpfroots.errors import InfraError
from bpfroots.process import run
from bpfroots.progress import Progress
from bpfroots.settings import cache_root

# Tests point this at a directory of their own, which has sources.list and sources.list.d as /etc/apt has.
APT = "BPFROOTS_APT"

_ONE_LINE = re.compile(r"deb\s+(?:\[(?P<options>[^]]*)\]\s+)?(?P<uri>\S+)\s+(?P<suite>\S+)\s+(?P<parts>.*)")


#: What an entry is about; everything else says how.
_ENTRY = frozenset({"types", "uris", "suites", "components", "enabled"})
#: Options of an entry of one line that have another name in the other form.
_LONG = {"arch": "Architectures", "lang": "Languages", "target": "Targets"}


@dataclass(frozen=True)
class Archive:
    """One archive that this machine installs from. ``options`` are the lines of its entry that say how:
    which keyring checks it, and the like."""

    uri: str
    suites: tuple[str, ...]
    options: tuple[str, ...]


def package(name: str, version: str, suites: Sequence[str], progress: Progress) -> tuple[Path, str]:
    """The files of a package of one of ``suites``, unpacked in the cache, and its version.

    That is the newest there is where ``version`` is empty, or gone from the archive: then a line says so.
    Raises InfraError where there is no such package or no network.
    """
    store = cache.Cache(cache_root(), "deb", progress.say)
    if version and (found := store.peek(_key(name, version))):
        return found, version
    with lists(suites, progress) as config:
        versions = _versions(config, name)
        if not versions:
            msg = f"no package {name} in {', '.join(suites)}"
            raise InfraError(msg, hint="apt-cache search finds names; a suite is trixie-backports, or so")
        chosen = version if version in versions else versions[0]
        if version and chosen != version:
            progress.say(f"source  {name} {version} is gone from the archive; taking {chosen}")

        def populate(directory: Path) -> None:
            with progress.task(f"source  {name} {chosen} from {', '.join(suites)}"):
                fetch(("-c", config), f"{name}={chosen}", directory)

        return store.get(_key(name, chosen), populate), chosen


@contextlib.contextmanager
def lists(suites: Sequence[str], progress: Progress) -> Iterator[Path]:
    """A configuration of apt (its option -c) with fresh lists of ``suites``. Raises InfraError."""
    with cache.Cache(cache_root(), "apt", progress.say).lock("state") as state:
        config = _configure(state, suites)
        _apt(["apt-get", "-q", "-c", config, "update"], f"suites {', '.join(suites)}")
        yield config


def fetched(name: str, version: str) -> Path | None:
    """The files of a package that was fetched before; asks no network."""
    return cache.Cache(cache_root(), "deb").peek(_key(name, version))


def _key(name: str, version: str) -> str:
    return f"{name}_{version}".replace(":", "+")


def fetch(options: Sequence[str | Path], wanted: str, directory: Path) -> None:
    """Unpack a package into ``directory``; ``options`` are apt's. Raises InfraError."""
    _apt(["apt-get", "-q", *options, "download", wanted], wanted, directory)
    for deb in directory.glob("*.deb"):
        _apt(["dpkg-deb", "-x", deb, directory], wanted)
        deb.unlink()


def _apt(command: Sequence[str | Path], what: str, directory: Path | None = None) -> None:
    answer = run(command, cwd=directory, env={**os.environ, "LC_ALL": "C"})
    if answer.returncode:
        lines = (answer.stdout + answer.stderr).decode(errors="replace").splitlines()
        errors = [line for line in lines if line.startswith(("E:", "Err:", "dpkg-deb: error"))]
        msg = f"{what}: {errors[-1] if errors else f'{command[0]} ended with {answer.returncode}'}"
        raise InfraError(msg, detail="\n".join(lines[-8:]), hint="is there a network?")


def _versions(config: Path, name: str) -> list[str]:
    """What the suites have of a package, the newest first."""
    answer = run(["apt-cache", "-c", config, "madison", name])
    rows = (line.split("|") for line in answer.stdout.decode(errors="replace").splitlines())
    return [row[1].strip() for row in rows if len(row) >= 3]


def _configure(state: Path, suites: Sequence[str]) -> Path:
    """apt's configuration for ``suites``, with its state in the directory ``state``."""
    for directory in ("lists/partial", "cache/archives/partial"):
        (state / directory).mkdir(parents=True, exist_ok=True)
    entries = [_entry(suite, archives()) for suite in suites]
    (state / "suites.sources").write_text("\n".join(entries))
    config = state / "apt.conf"
    # Hooks of the machine's configuration clean the machine's directories. No other user can write to the
    # cache, so apt is not to change to its own.
    config.write_text(f"""\
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
Dir::State::Lists "{state}/lists/";
Dir::Cache "{state}/cache/";
Dir::Etc::SourceList "{state}/suites.sources";
Dir::Etc::SourceParts "/dev/null";
Acquire::Languages "none";
Acquire::Retries "2";
APT::Sandbox::User "root";
""")
    return config


def _entry(suite: str, known: Sequence[Archive]) -> str:
    """The entry of a sources list for ``suite``, where the machine has the archive that it is in."""
    # Security suites are an archive of their own, beside the one with all others.
    is_security = suite.endswith("-security")
    for archive in known:
        if is_security == any(name.endswith("-security") for name in archive.suites):
            entry = ["Types: deb", f"URIs: {archive.uri}", f"Suites: {suite}", "Components: main"]
            return "\n".join([*entry, *archive.options, ""])
    which = "Debian's security archive" if is_security else "Debian's archive"
    msg = f"suite {suite}: this machine does not install from {which}"
    raise InfraError(msg, hint="add it to /etc/apt/sources.list.d")


def archives() -> list[Archive]:
    """The Debian archives among apt's sources."""
    root = Path(os.environ.get(APT) or "/etc/apt")
    found: list[Archive] = []
    for path in [root / "sources.list", *sorted((root / "sources.list.d").glob("*"))]:
        if path.suffix == ".sources" and path.is_file():
            found += _paragraphs(path.read_text(errors="replace"))
        elif path.suffix == ".list" and path.is_file():
            found += _lines(path.read_text(errors="replace"))
    return [archive for archive in found if "debian" in archive.uri.rstrip("/").rpartition("/")[2]]


def _paragraphs(text: str) -> Iterator[Archive]:
    """Entries in the form of deb822 (sources.list(5)), those of component main."""
    plain = "\n".join(line for line in text.splitlines() if not line.startswith("#"))
    for paragraph in re.split(r"\n\s*\n", plain):
        # A line that starts with a space continues the one before: an inline key.
        fields = dict(re.findall(r"^([\w-]+):[ \t]*(.*(?:\n[ \t].*)*)", paragraph, re.MULTILINE))
        words = {name.lower(): value.split() for name, value in fields.items()}
        if "deb" in words.get("types", []) and "main" in words.get("components", []):
            options = tuple(
                f"{name}: {value}" for name, value in fields.items() if name.lower() not in _ENTRY
            )
            for uri in words.get("uris", []):
                yield Archive(uri, tuple(words.get("suites", [])), options)


def _lines(text: str) -> Iterator[Archive]:
    for line in text.splitlines():
        match = _ONE_LINE.match(line.strip())
        if match and "main" in match["parts"].split():
            given = (word.partition("=") for word in (match["options"] or "").split())
            options = tuple(f"{_LONG.get(name, name)}: {value}" for name, _, value in given)
            yield Archive(match["uri"], (match["suite"],), options)
