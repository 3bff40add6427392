"""bpfroots: boots kernels in VMs and compares how BPF programs share code."""

__version__ = "0.1.0"
