"""Kernels of two runs: a name may stand for another one in each."""

from __future__ import annotations

import msgspec

from bpfroots.results.model import KernelInfo, RunInfo


class OtherKernel(msgspec.Struct):
    """Two runs had kernels of this name that are not the same; ``what`` of them differs."""

    name: str
    what: list[str]


def other_kernels(a: RunInfo, b: RunInfo) -> list[OtherKernel]:
    """Kernels of the same name in two runs that are not the same."""
    before = {kernel.name: kernel for kernel in a.kernels}
    return [
        OtherKernel(kernel.name, _differing(before[kernel.name], kernel))
        for kernel in b.kernels
        if kernel.name in before and kernel.key != before[kernel.name].key
    ]


def _differing(a: KernelInfo, b: KernelInfo) -> list[str]:
    # Of a kernel that was built elsewhere no more is known than its image.
    source = "image" if b.prebuilt else "source"
    pairs = {
        "path": (a.argument, b.argument),
        source: (a.source_id, b.source_id),
        "series": (a.series_id, b.series_id),
        "configuration": (a.config_hash, b.config_hash),
        "compiler": (a.compiler, b.compiler),
    }
    return [what for what, (one, other) in pairs.items() if one != other]
