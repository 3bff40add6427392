"""Facts about a BPF object that can be read without a kernel."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bpfroots.errors import UserError

if TYPE_CHECKING:
    from elftools.elf.elffile import ELFFile


@dataclass(frozen=True)
class ElfProgram:
    """A program as libbpf finds it: a global function in an executable section other than .text."""

    name: str
    section: str


def programs(path: Path) -> list[ElfProgram]:
    """The programs of an object, in the order of their symbols.

    As libbpf's bpf_object__add_programs. Raises UserError for anything that is no whole BPF object.
    """
    from elftools.common.exceptions import ELFError
    from elftools.elf.elffile import ELFFile

    try:
        with path.open("rb") as stream:
            elf = ELFFile(stream)
            if elf["e_machine"] != "EM_BPF" or elf["e_type"] != "ET_REL":
                msg = f"{path}: not a BPF object ({elf['e_machine']}, {elf['e_type']})"
                raise UserError(msg, hint="compile it with clang -target bpf -c")
            _check_whole(elf, path)
            found = list(_programs(elf))
    except OSError as error:
        msg = f"{path}: {error.strerror}"
        raise UserError(msg) from None
    except (ELFError, ValueError, KeyError, AttributeError, UnicodeDecodeError, IndexError) as error:
        msg = f"{path}: truncated or damaged ELF ({error or type(error).__name__})"
        raise UserError(msg, hint="compile it again") from None
    if not found:
        msg = f"{path}: no programs in it"
        raise UserError(msg, hint="a program is a global function with a SEC()")
    return found


def _check_whole(elf: ELFFile, path: Path) -> None:
    from elftools.common.exceptions import ELFError

    size = path.stat().st_size
    for section in elf.iter_sections():
        if section["sh_type"] != "SHT_NOBITS" and section["sh_offset"] + section["sh_size"] > size:
            msg = f"section {section.name} ends beyond the file"
            raise ELFError(msg)


def _programs(elf: ELFFile) -> list[ElfProgram]:
    from elftools.common.exceptions import ELFError
    from elftools.elf.constants import SH_FLAGS
    from elftools.elf.sections import SymbolTableSection

    table = elf.get_section_by_name(".symtab")
    if not isinstance(table, SymbolTableSection):
        msg = "no symbol table"
        raise ELFError(msg)
    found = []
    for symbol in table.iter_symbols():
        index = symbol["st_shndx"]
        if symbol["st_info"]["type"] != "STT_FUNC" or not isinstance(index, int):
            continue
        section = elf.get_section(index)
        executable = section["sh_flags"] & SH_FLAGS.SHF_EXECINSTR
        if executable and section.name != ".text" and symbol["st_info"]["bind"] == "STB_GLOBAL":
            found.append(ElfProgram(symbol.name, section.name))
    return found
