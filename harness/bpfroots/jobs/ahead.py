"""Libraries that a run needs once its first guest is there: imported while that starts."""

from __future__ import annotations

import contextlib
import importlib
import threading

# In the order in which they are needed.
_MODULES = ("bpfroots.machine.ssh", "bpfroots.jobs.verdicts", "capstone", "bpfroots.report.html")


def import_libraries() -> None:
    """Import them on a thread of its own. One that cannot be imported says so where it is needed."""
    threading.Thread(target=_import, name="bpfroots-import", daemon=True).start()


def _import() -> None:
    for name in _MODULES:
        # RuntimeError: the process ends, and what is imported wants to be told at its end.
        with contextlib.suppress(ImportError, RuntimeError):
            importlib.import_module(name)
