"""A series out of mails: which of them are its patches, and in which order these apply."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path

from bpfroots.cache import Cache
from bpfroots.errors import UserError
from bpfroots.kernels import mail
from bpfroots.kernels.mail import Mail
from bpfroots.settings import cache_root

#: Files of a directory that are taken for mails.
SUFFIXES = (".patch", ".diff", ".eml", ".mbox", ".mbx")
# Part of the key: raised where the same mails are to give other patches.
_FORMAT = 1
_NOT_IN_A_NAME = re.compile(r"[^A-Za-z0-9._]+")
_LONGEST_NAME = 52
_NOT_OF_IT = "take out what is not of the series"


def patches(path: Path) -> list[Path]:
    """The patches of ``path`` as plain files in the cache, in the order in which they apply.

    Raises UserError for what is no series, and for one that is not whole.
    """
    files = _files(path)
    digest = hashlib.sha256(f"{_FORMAT} {path.is_file()}\n".encode())
    for file in files:
        content = file.read_bytes()
        digest.update(f"{file.name} {len(content)}\n".encode())
        digest.update(content)

    def populate(out: Path) -> None:
        mails = [one for file in files for one in mail.read(file)]
        if path.is_file() and len(mails) == 1 and mails[0].has_diff:  # one patch, whatever its number is
            (out / path.name.lstrip(".")).write_bytes(mails[0].plain)
            return
        for number, one in enumerate(in_order(mails, str(path)), 1):
            (out / f"{number:04}-{_slug(one)}.patch").write_bytes(one.plain)

    entry = Cache(cache_root(), "series").get(digest.hexdigest(), populate)
    return sorted(file for file in entry.iterdir() if not file.name.startswith("."))


def left_out(path: Path) -> list[tuple[str, str]]:
    """What of ``path`` is none of its patches, and why: (subject or file, reason). Cover letters are no loss.

    Raises as `patches`.
    """
    files = _files(path)
    mails = [one for file in files for one in mail.read(file)]
    taken = {one.plain for one in (mails if len(mails) == 1 else in_order(mails, str(path)))}
    newest = max((one.revision for one in mails if not one.is_reply), default=1)
    found = (
        []
        if path.is_file()
        else [
            (file.name, "no patch, by its name")
            for file in sorted(path.iterdir())
            if file.is_file() and file not in files and not file.name.startswith(".")
        ]
    )
    for one in mails:
        if one.is_reply:
            found.append((one.subject, "a reply"))
        elif one.revision != newest:
            found.append((one.subject, f"v{one.revision}; the newest is v{newest}"))
        elif not one.has_diff and not one.is_cover:
            found.append((one.subject or "a mail without a subject", "no diff in it"))
        elif one.plain not in taken and not one.is_cover:
            found.append((one.subject, "the same patch again"))
    return found


def in_order(mails: Sequence[Mail], where: str) -> list[Mail]:
    """The newest version of the one series in ``mails``, which come from ``where``.

    Left out are replies, cover letters, and what has no diff. [PATCH n/m] gives the order; where no patch has
    a number, ``mails`` are in order. Raises UserError where patches are missing, or are of several series.
    """
    first = [one for one in mails if not one.is_reply and (one.has_diff or one.is_cover)]
    newest = max((one.revision for one in first), default=1)
    found = [one for one in first if one.revision == newest]
    if not found:
        msg = f"{where}: no patch in it"
        raise UserError(msg, hint="git format-patch writes patches; lists have mailboxes")
    return _numbered(found, where) if any(one.number for one in found) else found


def _numbered(found: Sequence[Mail], where: str) -> list[Mail]:
    """The patches among ``found``, a cover letter and patches, by their numbers. Raises UserError."""
    places: dict[int, Mail] = {}
    totals: dict[int, Mail] = {}
    for one in found:
        if one.number is None:
            msg = f"{where}: {one.subject!r} has no number, and others have"
            raise UserError(msg, hint=_NOT_OF_IT)
        place, total = one.number
        other = places.setdefault(place, one)
        if (other.title, other.patch) != (one.title, one.patch):
            raise _ambiguous(where, other, one)
        totals.setdefault(total, one)
        if len(totals) > 1:
            raise _ambiguous(where, found[0], one)
    if missing := [f"{number}/{total}" for number in range(1, total + 1) if number not in places]:
        msg = f"{where}: {', '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing"
        there = "\n".join(f"there is {places[place].subject}" for place in sorted(places))
        hint = "get the whole thread; a file `series` in a directory lists what is to be applied"
        raise UserError(msg, detail=there, hint=hint)
    return [places[place] for place in sorted(places) if place]


def _ambiguous(where: str, one: Mail, other: Mail) -> UserError:
    msg = f"{where}: patches of several series: {one.subject!r} and {other.subject!r}"
    return UserError(msg, hint=_NOT_OF_IT)


def _files(path: Path) -> list[Path]:
    """The mailboxes and mails of a series, by name. Raises UserError where there are none."""
    if path.is_file():
        return [path]
    if not path.is_dir():
        msg = f"{path}: no such series"
        raise UserError(msg, hint="a directory of patches, a mailbox of a thread, or one patch")
    found = sorted(file for file in path.iterdir() if file.suffix in SUFFIXES and file.is_file())
    if not found:
        msg = f"{path}: no file `series`, and no patches ({' '.join(SUFFIXES)})"
        raise UserError(msg, hint="git format-patch writes them")
    return found


def _slug(one: Mail) -> str:
    """As `git format-patch` names files."""
    return _NOT_IN_A_NAME.sub("-", one.title).strip("-.")[:_LONGEST_NAME].rstrip("-.") or "patch"
