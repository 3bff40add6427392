"""bpfroots: boots kernels in VMs and compares how BPF programs share code."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("bpfroots")
except PackageNotFoundError:  # run from a tree that is not installed
    __version__ = "0"
