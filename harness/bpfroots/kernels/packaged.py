"""Kernels of distributions: ``debian:PACKAGE``, and what belongs to a ``/boot/vmlinuz-RELEASE``.

Nothing is built. A package is downloaded by apt, which checks its signature, and unpacked into the cache;
nothing is installed.
"""

from __future__ import annotations

import hashlib
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from bpfroots import cache
from bpfroots.errors import InfraError, UserError
from bpfroots.kernels import image
from bpfroots.process import run
from bpfroots.progress import Progress
from bpfroots.settings import cache_root

PREFIX = "debian:"
#: Drivers of the machine (machine/devices.py), by option: what images/init loads where they are modules.
DRIVERS = {
    "VIRTIO_PCI": "virtio_pci",
    "VIRTIO_NET": "virtio_net",
    "HW_RANDOM_VIRTIO": "virtio-rng",
    "PVPANIC_PCI": "pvpanic-pci",
    "VMGENID": "vmgenid",
}
_PACKAGE = re.compile(r"linux-image-[a-z0-9.+~-]+")


@dataclass(frozen=True)
class Package:
    """A kernel package of Debian, as ``debian:NAME`` or ``debian:NAME=VERSION``; without a version, apt's
    candidate."""

    name: str
    package: str
    version: str = ""

    @property
    def argument(self) -> str:
        """What ``--kernel`` takes for it."""
        return f"{PREFIX}{self.package}" + (f"={self.version}" if self.version else "")


def parse(argument: str) -> Package:
    """Raises UserError for what is no name of a kernel package."""
    package, _, version = argument.removeprefix(PREFIX).partition("=")
    if not _PACKAGE.fullmatch(package):
        msg = f"--kernel {argument}: not the name of a kernel package"
        raise UserError(msg, hint="--kernel debian:linux-image-cloud-amd64; apt-cache search '^linux-image-'")
    return Package(package.removeprefix("linux-image-"), package, version)


def unpacked(wanted: Package, progress: Progress) -> Path:
    """The boot image of a package, in a directory laid out as the package is. Raises UserError for a package
    that apt does not know, InfraError where it cannot be had."""
    package, version = _resolved(wanted)

    def populate(out: Path) -> None:
        with progress.task(f"kernel  {wanted.name}  {package} {version}"):
            answer = run(["apt-get", "-q", "download", f"{package}={version}"], cwd=out)
            debs = list(out.glob("*.deb"))
            if answer.returncode or len(debs) != 1:
                said = answer.stderr.decode(errors="replace").strip()
                msg = f"{package} {version} cannot be downloaded"
                raise InfraError(msg, detail=said[-800:], hint="apt-get update")
            done = run(["dpkg-deb", "-x", debs[0], out])
            debs[0].unlink()
            if done.returncode or not _images(out):
                msg = f"{package} {version} has no /boot/vmlinuz-*"
                raise UserError(msg, detail=done.stderr.decode(errors="replace").strip())
            # Documentation, and what only a machine would load: 100 MB of nothing for a guest.
            shutil.rmtree(out / "usr/share", ignore_errors=True)

    return _images(cache.Cache(cache_root(), "packaged", progress.say).get(_key(package, version), populate))[
        0
    ]


def is_unpacked(wanted: Package) -> bool:
    """Is it there already? Raises UserError for a package that apt does not know."""
    return cache.Cache(cache_root(), "packaged").peek(_key(*_resolved(wanted))) is not None


def _key(package: str, version: str) -> str:
    return hashlib.sha256(f"{package}\0{version}".encode()).hexdigest()[:32]


def config(bzimage: Path) -> Path | None:
    """The configuration that a distribution puts beside its boot image."""
    found = bzimage.with_name(f"config-{image.release(bzimage)}")
    return found if found.is_file() else None


def modules(bzimage: Path) -> Path | None:
    """Where the modules of a distribution's kernel are: with those of its package, else on this machine."""
    release = image.release(bzimage)
    for root in (bzimage.parent.parent, Path("/")):
        for place in ("lib/modules", "usr/lib/modules"):
            if release and (root / place / release / "kernel").is_dir():
                return root / place / release
    return None


def _images(root: Path) -> list[Path]:
    return sorted((root / "boot").glob("vmlinuz-*"))


def _resolved(wanted: Package) -> tuple[str, str]:
    """Package and version: a meta-package (linux-image-cloud-amd64) stands for what it depends on."""
    package, version = wanted.package, wanted.version
    fields = _show(wanted, package, version)
    depends = re.findall(r"\b(linux-image-[0-9][a-z0-9.+~-]*)(?: \(= ([^)]+)\))?", fields.get("Depends", ""))
    if depends:
        package, version = depends[0]
        fields = _show(wanted, package, version)
    return package, fields["Version"]


def _show(wanted: Package, package: str, version: str) -> dict[str, str]:
    """Fields of what apt knows of a package; of several versions the candidate."""
    which = f"{package}={version}" if version else package
    answer = run(["apt-cache", "show", "--no-all-versions", which])
    lines = answer.stdout.decode(errors="replace").splitlines()
    fields = {k: v.strip() for line in lines if line[:1].isalpha() for k, _, v in [line.partition(":")]}
    if answer.returncode or "Version" not in fields:
        msg = f"--kernel {wanted.argument}: apt knows no package {which}"
        raise UserError(msg, hint="apt-get update; apt-cache search '^linux-image-'")
    return fields
