"""bpfroots: boots kernels in VMs and compares how BPF programs share code."""

from __future__ import annotations

__version__: str


def __getattr__(name: str) -> str:
    """``__version__``, when it is asked for: to find it out takes longer than to import the rest."""
    if name != "__version__":
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("bpfroots")
    except PackageNotFoundError:  # run from a tree that is not installed
        return "0"
