"""The process that cleans up after us when we cannot.

Reads lines on stdin: ``+PGID`` a process group was started, ``-PGID`` it ended,
``d PATH`` a directory to remove. At end of file the parent is gone, however it
went: every group still listed is killed and the directories are removed.

PR_SET_PDEATHSIG is not enough for this: it is tied to the *thread* that forked
and is not inherited by grandchildren, so a killed make would leave its sub-makes.
Run as a script with -I -S; imports only what it needs.
"""

import contextlib
import os
import shutil
import signal
import sys


def main() -> None:
    # Ctrl-C goes to the whole foreground group; the reaper has to outlive it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    groups: dict[int, None] = {}
    directories: dict[str, None] = {}
    for raw in sys.stdin:
        line = raw.rstrip("\n")
        if line.startswith("+"):
            groups[int(line[1:])] = None
        elif line.startswith("-"):
            groups.pop(int(line[1:]), None)
        elif line.startswith("d "):
            directories[line[2:]] = None
    for group in groups:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(group, signal.SIGKILL)
    for directory in directories:
        shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    main()
