"""Programs and libraries that an image takes from this machine."""

from __future__ import annotations

import shutil
from pathlib import Path

from bpfroots import arch
from bpfroots.errors import InfraError
from bpfroots.images.initramfs import Entry, file

#: In this order the guest's ld.so looks as well. Not ldd: it would pick the glibc-hwcaps variant
#: that suits the host's CPU, which an emulated one need not be able to run.
LIBRARY_DIRS = (
    f"/lib/{arch.GUEST.multiarch}",
    f"/usr/lib/{arch.GUEST.multiarch}",
    "/lib64",
    "/usr/lib64",
    "/lib",
    "/usr/lib",
)


def program(name: str, package: str) -> Path:
    """Where a program of this machine is. Raises InfraError, which names its Debian package."""
    found = shutil.which(name, path="/usr/sbin:/usr/bin:/sbin:/bin")
    if found is None:
        msg = f"{name}: not found on this machine (Debian package {package}); the guest image needs it"
        raise InfraError(msg, hint="bpfroots setup")
    return Path(found)


def libraries(program: Path, beside: frozenset[str] = frozenset()) -> list[Entry]:
    """The shared libraries ``program`` needs, theirs, and its interpreter; but for those in ``beside``, which
    are where it looks for them. Raises InfraError for one that is not on this machine."""
    found: dict[str, Path] = {}
    todo = list(_needed(program))
    while todo:
        name = todo.pop()
        if name not in found and name not in beside:
            found[name] = _library(name, program)
            todo += _needed(found[name])
    entries = [file(str(path).lstrip("/"), path.read_bytes(), 0o755) for path in found.values()]
    loader = interpreter(program)
    if loader is not None and Path(loader) not in found.values():
        entries.append(file(loader.lstrip("/"), Path(loader).read_bytes(), 0o755))
    return entries


def _library(name: str, program: Path) -> Path:
    for place in LIBRARY_DIRS:
        path = Path(place) / name
        if path.is_file():
            return path
    msg = f"{name}, a library of {program}, is in none of {', '.join(LIBRARY_DIRS)}"
    raise InfraError(msg, hint="bpfroots setup")


def _needed(path: Path) -> list[str]:
    from elftools.common.exceptions import ELFError
    from elftools.elf.dynamic import DynamicSection
    from elftools.elf.elffile import ELFFile

    try:
        with path.open("rb") as stream:
            section = ELFFile(stream).get_section_by_name(".dynamic")
            if not isinstance(section, DynamicSection):
                return []
            # pyelftools gives a tag the attribute that its type has.
            return [str(tag.needed) for tag in section.iter_tags("DT_NEEDED")]  # type: ignore[attr-defined]
    except (OSError, ELFError) as error:
        msg = f"{path}: not a readable ELF file: {error}"
        raise InfraError(msg) from None


def interpreter(path: Path) -> str | None:
    """The dynamic loader that a program asks for; None for a static one. Raises InfraError for no ELF."""
    from elftools.common.exceptions import ELFError
    from elftools.elf.elffile import ELFFile
    from elftools.elf.segments import InterpSegment

    try:
        with path.open("rb") as stream:
            for segment in ELFFile(stream).iter_segments("PT_INTERP"):
                if isinstance(segment, InterpSegment):
                    return str(segment.get_interp_name())
    except (OSError, ELFError) as error:
        msg = f"{path}: not a readable ELF file: {error}"
        raise InfraError(msg) from None
    return None
