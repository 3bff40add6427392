"""Cells and builds on other machines, over a Dask cluster: the optional extra `cluster`."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from bpfroots.errors import UserError
from bpfroots.jobs.site import Executor


@contextlib.contextmanager
def connect(address: str | None) -> Iterator[Executor | None]:
    """The workers of the scheduler at ``address``; None where there is no address.

    Raises UserError without the extra, InfraError where no scheduler answers.
    """
    if address is None:
        yield None
        return
    require()
    from bpfroots.cluster.client import Cluster

    with contextlib.closing(Cluster(address)) as cluster:
        yield cluster


def require() -> None:
    """Raises UserError where the extra is not installed."""
    try:
        import distributed  # noqa: F401
    except ImportError:
        msg = "other machines are reached through Dask, which is not installed"
        raise UserError(msg, hint="pip install -e '.[cluster]'") from None
