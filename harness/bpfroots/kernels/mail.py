"""Patches as mail programs save them and lists archive them, taken as `git am` takes them.

Git itself splits and decodes (git-mailsplit(1), git-mailinfo(1)): mailboxes, CRLF, quoted-printable, base64,
attachments, encoded headers. What comes out is a plain patch, as `git format-patch` writes it.
"""

from __future__ import annotations

import re
import tempfile
from dataclasses import dataclass
from pathlib import Path

from bpfroots import process
from bpfroots.errors import UserError
from bpfroots.kernels.git import environment, git

_CRLF = re.compile(rb"(?:From .*\n)?.*\r\n")
_ENCODED = re.compile(
    rb"^Content-Transfer-Encoding:\s*(?:quoted-printable|base64)", re.MULTILINE | re.IGNORECASE
)
_MULTIPART = re.compile(rb"^Content-Type:\s*multipart/", re.MULTILINE | re.IGNORECASE)
_DIFF = re.compile(rb"^(?:diff --git |--- \S.*\n\+\+\+ \S)", re.MULTILINE)
_REPLY = re.compile(r"(?:re|aw|fwd?|sv|antw)\s*:", re.IGNORECASE)
_TAGS = re.compile(r"(?:\[[^\]]*\]\s*)+")
_REVISION = re.compile(r"\bv(\d+)\b", re.IGNORECASE)
_NUMBER = re.compile(r"\b(\d+)/(\d+)\b")
_SPECIALS = re.compile(r'[()<>@,;:"\\.\[\]]')
# As in mails of lore.kernel.org: a line of the text that begins with "From " has a ">" before it.
_MBOXRD = b"From mboxrd@z "
_HEAD = """From 0000000000000000000000000000000000000000 Mon Sep 17 00:00:00 2001
From: {author}
Date: {date}
Subject: {subject}
MIME-Version: 1.0
Content-Type: text/plain; charset=UTF-8
Content-Transfer-Encoding: 8bit

"""


@dataclass(frozen=True)
class Mail:
    """A mail, decoded. ``subject`` is whole; ``message`` is the commit's, ``patch`` what follows it. A plain
    diff has no author, no date and no subject."""

    author: str
    date: str
    subject: str
    message: bytes
    patch: bytes

    @property
    def is_reply(self) -> bool:
        return _REPLY.match(self.subject) is not None

    @property
    def has_diff(self) -> bool:
        return _DIFF.search(self.patch) is not None

    @property
    def revision(self) -> int:
        """2 for [PATCH v2 1/3]; 1 where nothing is said."""
        found = _REVISION.search(self._tags)
        return int(found[1]) if found else 1

    @property
    def number(self) -> tuple[int, int] | None:
        """(1, 3) for [PATCH v2 1/3]."""
        found = _NUMBER.search(self._tags)
        return (int(found[1]), int(found[2])) if found else None

    @property
    def is_cover(self) -> bool:
        return self.number is not None and self.number[0] == 0

    @property
    def title(self) -> str:
        """The subject without its tags."""
        return self.subject[len(self._tags) :]

    @property
    def _tags(self) -> str:
        found = _TAGS.match(self.subject)
        return found[0] if found else ""

    @property
    def plain(self) -> bytes:
        """As `git format-patch` would write it."""
        head = ""
        if self.author:
            head = _HEAD.format(author=self.author, date=self.date, subject=self.subject)
        gap = b"" if not self.message or self.patch.startswith(b"---\n") else b"\n"
        return head.encode() + self.message + gap + self.patch


def is_plain(content: bytes) -> bool:
    """Whether a patch is, as it is, what `git apply` takes."""
    head = content.partition(b"\n\n")[0]
    return not (_CRLF.match(content) or _ENCODED.search(head) or _MULTIPART.search(head))


def read(path: Path) -> list[Mail]:
    """The mails of a mailbox, or the one mail or plain diff that ``path`` is. Raises UserError."""
    with path.open("rb") as file:
        mboxrd = ["--mboxrd"] if file.read(len(_MBOXRD)) == _MBOXRD else []
    with tempfile.TemporaryDirectory(dir=process.temporary_directory()) as scratch:
        work = Path(scratch)
        split = git(work, "mailsplit", "-b", *mboxrd, f"-o{work}", "--", path.resolve())
        if split.returncode:
            msg = f"{path}: no mail, mailbox or patch"
            detail = split.stderr.decode(errors="replace").strip()
            raise UserError(msg, detail=detail, hint="git format-patch writes patches; lists have mailboxes")
        return [_decoded(mail, path) for mail in sorted(work.iterdir())]


def _decoded(mail: Path, path: Path) -> Mail:
    message, patch = mail.with_suffix(".message"), mail.with_suffix(".patch")
    command = ["git", "mailinfo", "-k", "--encoding=UTF-8", "--no-scissors", "--quoted-cr=strip"]
    done = process.run([*command, message, patch], input=mail.read_bytes(), env=environment())
    if done.returncode:
        msg = f"{path}: a mail that git mailinfo does not take"
        raise UserError(msg, detail=done.stderr.decode(errors="replace").strip())
    lines = (line.partition(": ") for line in done.stdout.decode(errors="replace").splitlines())
    found = {name: value for name, _, value in lines}
    return Mail(
        author=f"{_quoted(found['Author'])} <{found['Email']}>" if "Author" in found else "",
        date=found.get("Date", ""),
        subject=found.get("Subject", ""),
        message=message.read_bytes(),
        patch=patch.read_bytes(),
    )


def _quoted(name: str) -> str:
    """A name as a header has it (RFC 5322, section 3.2.4), its letters as they are."""
    if not _SPECIALS.search(name):
        return name
    escaped = re.sub(r'(["\\])', r"\\\1", name)
    return f'"{escaped}"'
