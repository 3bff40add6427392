"""Modules of a distribution's kernel, as an archive that follows the image's.

A kernel that bpfroots builds has all that a guest needs built in. A distribution's has its drivers as
modules: the guest gets those of its devices, which images/init loads by the list `LIST`, and those that the
kernel requests (request_module) when a case attaches something.
"""

from __future__ import annotations

import hashlib
import lzma
import shutil
from pathlib import Path

from bpfroots import cache, process
from bpfroots.errors import InfraError, KernelError
from bpfroots.images import initramfs
from bpfroots.kernels.packaged import DRIVERS
from bpfroots.settings import cache_root

#: Beside the modules: what images/init loads, a name on each line.
LIST = "bpfroots.load"
# What programs and cases make the kernel load.
_ON_DEMAND = ("veth", "dummy", "sch_ingress", "cls_bpf", "act_bpf", "af_packet", "unix", "ipv6")
# Part of the key: raised where the same modules are to give another archive.
_FORMAT = 2
_SUFFIXES = (".ko", ".ko.xz", ".ko.zst", ".ko.gz")


def modules_archive(modules: Path) -> bytes:
    """The archive of those modules below ``modules`` (lib/modules/RELEASE) that a guest may need, with what
    they depend on and the indexes that modprobe reads. Raises InfraError, KernelError."""
    files = _files(modules)
    states = [f"{path} {path.stat().st_size} {path.stat().st_mtime_ns}" for path in files.values()]
    key = hashlib.sha256("\0".join([str(_FORMAT), modules.name, *states]).encode()).hexdigest()[:32]

    def populate(out: Path) -> None:
        (out / "modules.cpio").write_bytes(_archive(modules, files))

    return (cache.Cache(cache_root(), "modules").get(key, populate) / "modules.cpio").read_bytes()


def _files(modules: Path) -> dict[str, Path]:
    """Every module by its name, as modprobe has it: with underscores."""
    found = (path for path in sorted((modules / "kernel").rglob("*.ko*")) if path.name.endswith(_SUFFIXES))
    return {_name(path): path for path in found}


def _name(path: Path) -> str:
    return path.name.partition(".ko")[0].replace("-", "_")


def _archive(modules: Path, files: dict[str, Path]) -> bytes:
    wanted = [name.replace("-", "_") for name in (*DRIVERS.values(), *_ON_DEMAND)]
    directory = process.temporary_directory()
    try:
        place = directory / "lib/modules" / modules.name
        chosen: set[str] = set()
        todo = [name for name in wanted if name in files]
        while todo:
            name = todo.pop()
            if name in chosen or name not in files:
                continue
            chosen.add(name)
            target = place / "kernel" / f"{name}.ko"
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(_plain(files[name]))
            todo += _depends(target)
        for name in ("modules.order", "modules.builtin", "modules.builtin.modinfo"):
            if (modules / name).is_file():
                shutil.copyfile(modules / name, place / name)
        (place / LIST).write_text("".join(f"{name}\n" for name in DRIVERS.values()))
        done = process.run(["depmod", "-b", directory, modules.name])
        if done.returncode:
            msg = f"depmod makes no index of {modules}"
            raise InfraError(msg, detail=done.stderr.decode(errors="replace").strip()[-800:])
        entries = [
            initramfs.file(str(path.relative_to(directory)), path.read_bytes())
            for path in sorted(place.rglob("*"))
            if path.is_file()
        ]
        return initramfs.archive(initramfs.with_parents(entries))
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _plain(path: Path) -> bytes:
    """A module's ELF file. Raises KernelError where it is compressed in a way that is not known."""
    data = path.read_bytes()
    if path.suffix == ".ko":
        return data
    if path.suffix == ".xz":
        return lzma.decompress(data)
    tool = {".zst": "zstd", ".gz": "gzip"}[path.suffix]
    done = process.run([tool, "-dc"], input=data)
    if done.returncode:
        msg = f"{path}: {tool} cannot read it"
        raise KernelError(msg, detail=done.stderr.decode(errors="replace").strip())
    return done.stdout


def _depends(module: Path) -> list[str]:
    """The modules that a module says it needs, and those it would like (softdep)."""
    said = process.run(["modinfo", "-F", "depends", module]).stdout.decode(errors="replace")
    soft = process.run(["modinfo", "-F", "softdep", module]).stdout.decode(errors="replace")
    names = [*said.strip().split(","), *(word for word in soft.split() if not word.endswith(":"))]
    return [name.strip().replace("-", "_") for name in names if name.strip()]
