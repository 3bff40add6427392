"""Text of foreign origin, made safe to show: names, source lines, logs and consoles may hold anything."""

from __future__ import annotations

import re

# C0 but for tab and newline, DEL, C1, and surrogates: bytes of a file name that are no UTF-8 (PEP 383).
_HIDDEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")


def visible(text: str) -> str:
    """``text`` with escapes (\\x1b) for what a terminal would obey, and what no encoding can write."""
    return _HIDDEN.sub(_escaped, text)


def _escaped(found: re.Match[str]) -> str:
    code = ord(found[0])
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
