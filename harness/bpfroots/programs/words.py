"""``-k`` expressions: words joined by and, or, not, and parentheses, with the meaning that pytest gives them.

boolean.py, the library for this, takes words such as ``none`` and ``1`` for constants, and says of a wrong
expression that it is wrong.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NoReturn

from bpfroots.errors import UserError

_TOKEN = re.compile(r"[()]|[^\s()]+")
_RESERVED = ("and", "or", "not", "(", ")")
_Matcher = Callable[[str], bool]


def matcher(expression: str) -> _Matcher:
    """Does a name match? A word does where it is a part of the name, in any case.

    Raises UserError for what is no expression.
    """
    try:
        return _Parser(expression).parse()
    except RecursionError:
        msg = f"-k: nested too deeply: {expression[:40]}..."
        raise UserError(msg) from None


class _Parser:
    """By recursive descent: ``or`` binds least, ``not`` most."""

    def __init__(self, expression: str) -> None:
        self._expression = expression
        self._tokens = [(found[0], found.start()) for found in _TOKEN.finditer(expression)]

    def parse(self) -> _Matcher:
        found = self._either()
        if self._tokens:
            self._fail("and, or, or the end")
        return found

    def _either(self) -> _Matcher:
        parts = [self._all()]
        while self._take("or"):
            parts.append(self._all())
        return lambda name: any(part(name) for part in parts)

    def _all(self) -> _Matcher:
        parts = [self._one()]
        while self._take("and"):
            parts.append(self._one())
        return lambda name: all(part(name) for part in parts)

    def _one(self) -> _Matcher:
        if self._take("not"):
            rejected = self._one()
            return lambda name: not rejected(name)
        if self._take("("):
            inner = self._either()
            if not self._take(")"):
                self._fail("and, or, or )")
            return inner
        if not self._tokens or self._tokens[0][0] in _RESERVED:
            self._fail("a word, not, or (")
        word = self._tokens.pop(0)[0].lower()
        return lambda name: word in name.lower()

    def _take(self, token: str) -> bool:
        if self._tokens and self._tokens[0][0] == token:
            del self._tokens[0]
            return True
        return False

    def _fail(self, wanted: str) -> NoReturn:
        found, place = self._tokens[0] if self._tokens else ("the end", len(self._expression))
        msg = f"-k {self._expression!r}: {found} at character {place + 1}, where {wanted} should be"
        raise UserError(msg, hint="words joined by and, or, not; parentheses")
