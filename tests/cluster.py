"""A Dask cluster of this machine's processes, over TLS: a scheduler, and workers that can be killed."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from distributed import Security

_DEADLINE = 120.0
#: A worker that does not say anything for so long is taken for lost. A busy machine needs a few seconds.
_TTL = "12s"


class Process:
    """A program whose stderr is watched: who waits for a line waits for that, under a deadline."""

    def __init__(self, argv: list[str], environment: Mapping[str, str]) -> None:
        self.popen = subprocess.Popen(
            argv,
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            text=True,
            env={**os.environ, **environment},
        )
        self.lines: list[str] = []
        self._news = threading.Condition()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.popen.stderr is not None
        for line in self.popen.stderr:
            with self._news:
                self.lines.append(line)
                self._news.notify_all()

    def said(self, pattern: str, times: int = 1) -> re.Match[str]:
        """Wait for the line that has ``pattern`` for the ``times``-th time."""

        def found() -> list[re.Match[str]]:
            return [match for line in self.lines if (match := re.search(pattern, line))]

        with self._news:
            assert self._news.wait_for(lambda: len(found()) >= times, _DEADLINE), "".join(self.lines[-40:])
            return found()[times - 1]

    def end(self) -> None:
        self.popen.kill()
        self.popen.wait()


def certificates(directory: Path) -> dict[str, str]:
    """Dask's settings for TLS, as environment variables, with certificates that are made here."""
    made = Security.temporary()
    (directory / "ca.pem").write_text(made.tls_ca_file)
    environment = {
        "DASK_DISTRIBUTED__COMM__TLS__CA_FILE": str(directory / "ca.pem"),
        "DASK_DISTRIBUTED__COMM__REQUIRE_ENCRYPTION": "True",
    }
    for role in ("client", "scheduler", "worker"):
        for what in ("cert", "key"):
            path = directory / f"{role}-{what}.pem"
            path.write_text(getattr(made, f"tls_{role}_{what}"))
            environment[f"DASK_DISTRIBUTED__COMM__TLS__{role.upper()}__{what.upper()}"] = str(path)
    return environment


@dataclass
class Cluster:
    """Close it."""

    directory: Path
    environment: dict[str, str] = field(default_factory=dict)
    workers: list[Process] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.environment = {
            # A scheduler reads orders too, and is to be of the same code.
            "PYTHONPATH": str(Path(__file__).parent.parent),
            **certificates(self.directory),
            "DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL": _TTL,
            **self.environment,
        }
        dask = str(Path(sys.executable).with_name("dask"))
        argv = [
            dask,
            "scheduler",
            "--protocol",
            "tls",
            "--host",
            "127.0.0.1",
            "--port",
            "0",
            "--no-dashboard",
        ]
        self.scheduler = Process(argv, self.environment)
        self.address = self.scheduler.said(r"Scheduler at:\s*(tls://\S+)")[1]

    def start(self, **environment: str) -> Process:
        """One more worker, of one guest, that has announced itself."""
        argv = [sys.executable, "-m", "bpfroots", "worker", self.address, "-j", "1"]
        worker = Process(argv, {**self.environment, **environment})
        worker.said("Registered to:")
        self.workers.append(worker)
        return worker

    def close(self) -> None:
        for process in [*self.workers, self.scheduler]:
            process.end()
