"""Kernels of distributions: ``debian:PACKAGE``, and what belongs to a ``/boot/vmlinuz-RELEASE``.

Nothing is built. A package is downloaded by apt, which checks its signature, and unpacked into the cache;
nothing is installed.
"""

from __future__ import annotations

import hashlib
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bpfroots import cache
from bpfroots.errors import UserError
from bpfroots.kernels import debian, image
from bpfroots.process import run
from bpfroots.progress import Progress
from bpfroots.settings import cache_root

PREFIX = "debian:"
#: Drivers of the machine (machine/devices.py), by option: what a guest loads where they are modules.
DRIVERS = {
    "VIRTIO_PCI": "virtio_pci",
    "VIRTIO_NET": "virtio_net",
    "HW_RANDOM_VIRTIO": "virtio-rng",
    "PVPANIC_PCI": "pvpanic-pci",
}
_PACKAGE = re.compile(r"linux-image-[a-z0-9.+~-]+")


@dataclass(frozen=True)
class Package:
    """A kernel package of Debian: ``debian:NAME``, ``debian:NAME=VERSION`` or ``debian:NAME/SUITE``; without
    a version, apt's candidate. With a suite, of that one, which this machine need not install from."""

    name: str
    package: str
    version: str = ""
    suite: str = ""

    @property
    def argument(self) -> str:
        """What ``--kernel`` takes for it."""
        version, suite = f"={self.version}" * bool(self.version), f"/{self.suite}" * bool(self.suite)
        return f"{PREFIX}{self.package}{version}{suite}"

    @property
    def is_one_release(self) -> bool:
        """Whether the name has a release in it, so that it does not stand for another package."""
        return re.search(r"\d\.\d", self.package) is not None


def parse(argument: str) -> Package:
    """Raises UserError for what is no name of a kernel package."""
    which, _, suite = argument.removeprefix(PREFIX).partition("/")
    package, _, version = which.partition("=")
    if not _PACKAGE.fullmatch(package):
        msg = f"--kernel {argument}: not the name of a kernel package"
        raise UserError(msg, hint="--kernel debian:linux-image-cloud-amd64; apt-cache search '^linux-image-'")
    return Package(package.removeprefix("linux-image-"), package, version, suite)


def unpacked(wanted: Package, progress: Progress) -> Path:
    """The boot image of a package, in a directory laid out as the package is. Raises UserError for a package
    that apt does not know, InfraError where it cannot be had."""
    if not wanted.suite:
        return _unpacked(wanted, (), progress)
    if wanted.is_one_release and (found := _store().peek(_key_of(wanted))):
        return _images(found)[0]
    with debian.lists([wanted.suite], progress) as config:
        return _unpacked(wanted, ("-c", config), progress)


def _unpacked(wanted: Package, options: Sequence[str | Path], progress: Progress) -> Path:
    """``options`` are apt's."""
    package, version = _resolved(wanted, options)

    def populate(out: Path) -> None:
        with progress.task(f"kernel  {wanted.name}  {package} {version}"):
            debian.fetch(options, f"{package}={version}", out)
            if not _images(out):
                # A package of packages since 7.0: image, modules, configuration.
                release = package.removeprefix("linux-image-")
                for part in ("binary", "modules", "base"):
                    debian.fetch(options, f"linux-{part}-{release}={version}", out)
            if not _images(out):
                msg = f"{package} {version} has no vmlinuz"
                raise UserError(msg)
            # Documentation, and what only a machine would load: 100 MB of nothing for a guest.
            shutil.rmtree(out / "usr/share", ignore_errors=True)

    key = _key_of(wanted) if wanted.suite and wanted.is_one_release else _key(package, version)
    return _images(_store(progress).get(key, populate))[0]


def is_unpacked(wanted: Package) -> bool:
    """Is it there already? Raises UserError for a package that apt does not know."""
    if wanted.suite:
        return wanted.is_one_release and _store().peek(_key_of(wanted)) is not None
    return _store().peek(_key(*_resolved(wanted, ()))) is not None


def _store(progress: Progress | None = None) -> cache.Cache:
    return cache.Cache(cache_root(), "packaged", progress.say if progress else None)


def _key_of(wanted: Package) -> str:
    """Of a package that only its suite knows: to ask for its version takes a network."""
    return _key(f"{wanted.package}/{wanted.suite}", wanted.version)


def _key(package: str, version: str) -> str:
    return hashlib.sha256(f"{package}\0{version}".encode()).hexdigest()[:32]


def config(bzimage: Path) -> Path | None:
    """The configuration that a distribution puts beside its boot image."""
    # In /boot, or with the modules.
    beside = "config" if bzimage.name == "vmlinuz" else f"config-{image.release(bzimage)}"
    found = bzimage.with_name(beside)
    return found if found.is_file() else None


def modules(bzimage: Path) -> Path | None:
    """Where the modules of a distribution's kernel are: with those of its package, else on this machine."""
    release = image.release(bzimage)
    for root in bzimage.parents:
        for place in ("lib/modules", "usr/lib/modules"):
            if release and (root / place / release / "kernel").is_dir():
                return root / place / release
    return None


def _images(root: Path) -> list[Path]:
    return sorted([*root.glob("boot/vmlinuz-*"), *root.glob("usr/lib/modules/*/vmlinuz")])


def _resolved(wanted: Package, options: Sequence[str | Path]) -> tuple[str, str]:
    """Package and version: a meta-package (linux-image-cloud-amd64) stands for what it depends on."""
    package, version = wanted.package, wanted.version
    fields = _show(wanted, options, package, version)
    depends = re.findall(r"\b(linux-image-[0-9][a-z0-9.+~-]*)(?: \(= ([^)]+)\))?", fields.get("Depends", ""))
    if depends:
        package, version = depends[0]
        fields = _show(wanted, options, package, version)
    return package, fields["Version"]


def _show(wanted: Package, options: Sequence[str | Path], package: str, version: str) -> dict[str, str]:
    """Fields of what apt knows of a package; of several versions the candidate."""
    which = f"{package}={version}" if version else package
    answer = run(["apt-cache", *options, "show", "--no-all-versions", which])
    lines = answer.stdout.decode(errors="replace").splitlines()
    fields = {k: v.strip() for line in lines if line[:1].isalpha() for k, _, v in [line.partition(":")]}
    if answer.returncode or "Version" not in fields:
        msg = f"--kernel {wanted.argument}: apt knows no package {which}"
        hint = "apt-get update; apt-cache search '^linux-image-'; PACKAGE/SUITE for another suite"
        raise UserError(msg, hint=hint)
    return fields
