"""What a user's programs may not do yet: the file of ``load --expect``, and of ``ab --expect``.

[[reject]]
program = "on_tc"               # a shell pattern; all programs where it is left out
object  = "*/trace.bpf.o"       # a shell pattern for the object's name
kernel  = "<6.6"                # a name, or a comparison with the release
message = "cannot use helper"   # what the verifier says, in part

[[error]]                       # no verdict: the program cannot be loaded at all
object = "new.bpf.o"
kernel = "v6.1"

[[crash]]                       # `ab` alone: the guest crashes, hangs, or is too slow
object = "splat.bpf.o"
"""

from __future__ import annotations

import fnmatch
import operator
import re
from pathlib import Path
from typing import Literal

import msgspec

from bpfroots import tomlfile
from bpfroots.errors import UserError
from bpfroots.kernels import version

_COMPARED = re.compile(r"(<=|>=|==|<|>)\s*(\d+(?:\.\d+)*)$")
_COMPARE = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
}


class Allowed(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """An exception to "every program is accepted". ``where`` is its place in the file."""

    program: str = "*"
    object: str = "*"
    kernel: str = "*"
    message: str = ""
    verdict: Literal["reject", "error", "crash"] = "reject"
    where: str = ""

    def applies(self, kernel: str, release: str, object_: str, program: str) -> bool:
        """Is this program on this kernel meant? An object without known programs has the program ""."""
        return (
            on_kernel(self.kernel, kernel, release)
            and (
                fnmatch.fnmatchcase(object_, self.object) or fnmatch.fnmatchcase(object_, f"*/{self.object}")
            )
            and (not program or fnmatch.fnmatchcase(program, self.program))
        )


class _File(msgspec.Struct, forbid_unknown_fields=True):
    reject: list[Allowed] = []
    error: list[Allowed] = []
    crash: list[Allowed] = []


def on_kernel(wanted: str, kernel: str, release: str) -> bool:
    """Is a kernel meant by ``wanted``, a shell pattern for its name or a comparison (``<6.6``)?

    As many numbers of the release count as ``wanted`` has: 6.6.100 is ``<=6.6``. A release without a number
    is meant by no comparison.
    """
    if (match := _COMPARED.fullmatch(wanted)) is None:
        return fnmatch.fnmatchcase(kernel, wanted)
    bound = tuple(map(int, match[2].split(".")))
    found = version.number(release)
    return found is not None and bool(_COMPARE[match[1]]((*found, 0, 0, 0)[: len(bound)], bound))


def read(path: Path) -> tuple[Allowed, ...]:
    """The exceptions of a file, in order. Raises UserError, which names file and key."""
    given = tomlfile.read(
        path, _File, hint="[[reject]], [[error]] and [[crash]] take program, object, kernel, message"
    )
    for allowed in (*given.reject, *given.error, *given.crash):
        if allowed.kernel[:1] in "<>=" and not _COMPARED.fullmatch(allowed.kernel):
            msg = f"{path}: kernel = {allowed.kernel!r} is no comparison with a release"
            raise UserError(msg, hint='kernel = "<6.6", or the name of a kernel')
    return tuple(
        msgspec.structs.replace(allowed, verdict=verdict, where=f"{path.name} [[{verdict}]] {number}")
        for verdict, listed in (("reject", given.reject), ("error", given.error), ("crash", given.crash))
        for number, allowed in enumerate(listed, 1)
    )
