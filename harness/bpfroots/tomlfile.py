"""Files that people write in TOML, read into a type."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import TypeVar

import msgspec

from bpfroots.errors import UserError

_T = TypeVar("_T")


def read(path: Path, type_: type[_T], where: str = "", *, hint: str = "", absent: str = "") -> _T:
    """The content of ``path``, which errors call ``where``.

    Raises UserError: with the hint ``absent`` for a file that cannot be read, with ``hint`` for a key or a
    value that ``type_`` does not have.
    """
    where = where or str(path)
    try:
        return msgspec.convert(tomllib.loads(path.read_text()), type_)
    except OSError as error:
        msg = f"{where}: {error.strerror}"
        raise UserError(msg, hint=absent) from None
    except tomllib.TOMLDecodeError as error:
        msg = f"{where}: not TOML: {error}"
        raise UserError(msg) from None
    except (msgspec.ValidationError, UnicodeDecodeError) as error:
        msg = f"{where}: {error}"
        raise UserError(msg, hint=hint) from None
