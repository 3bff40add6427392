"""Where the command begins, with nothing but the standard library: `bisect step` must not end in a code that
git takes for a verdict unless one was reached, whatever fails, the import of everything else included.

``git bisect run`` reads 0 as good, 125 as skip, anything else below 128 as bad, and stops at 128 and above.
"""

from __future__ import annotations

import contextlib
import os
import sys
from typing import NoReturn

#: Set by bin/bpfroots: the code it takes for "bad", because Python itself may end with 1.
_BAD = "BPFROOTS_BAD"
#: 129 is also git's own code for usage; 255 is a fault of ours that nobody foresaw.
_CODES = {2: 129, 4: 132, 130: 130, 141: 141}
_FAULT = 255
#: The same for all other commands (docs/reference.md): it is our side, not 1, which is a cell's.
_OURS = 4


class Verdict(SystemExit):
    """What a bisect step ends with: 0, 1 or 125. Nothing else does."""


def main() -> None:
    """Entry point of `bpfroots` and `python -m bpfroots`."""
    if [word for word in sys.argv[1:] if not word.startswith("-")][:2] == ["bisect", "step"]:
        _end(_step())
    try:
        from bpfroots.cli import main as cli

        cli()
    except KeyboardInterrupt:  # before there is a command that could be interrupted
        _say("bpfroots: interrupted")
        sys.exit(130)
    except Exception as error:
        _report(error)
        sys.exit(_OURS)


def _step() -> int:
    bad = int(os.environ.pop(_BAD, "1"))
    try:
        from bpfroots.cli import main as cli

        cli()
    except Verdict as verdict:
        return bad if verdict.code == 1 else int(verdict.code or 0)
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else _FAULT
        return _CODES.get(code, 129 if code == 0 else _FAULT)  # --help is no verdict
    except KeyboardInterrupt:
        return 130
    except BaseException as error:
        _report(error)
        return _FAULT
    return 129


def _report(error: BaseException) -> None:
    """A fault that had no line of its own."""
    if os.environ.get("BPFROOTS_DEBUG"):
        import traceback

        traceback.print_exc()
    else:
        _say(f"bpfroots: {type(error).__name__}: {error}\n  try: BPFROOTS_DEBUG=1 for the traceback")


def _say(text: str) -> None:
    # As bpfroots.escape, whose import could fail as well.
    shown = "".join(c if c.isprintable() or c == "\n" else ascii(c)[1:-1] for c in text)
    print(shown, file=sys.stderr)  # noqa: T201


def _end(code: int) -> NoReturn:
    """Leave without what Python does at its end, which ends with 120 where stdout cannot be flushed."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            stream.flush()
    os._exit(code)
