"""What test_progs or test_maps needs before its first guest: kernel, modules, program and image."""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass, replace
from pathlib import Path

from bpfroots import images, kernels
from bpfroots.cache import Cache
from bpfroots.errors import UserError
from bpfroots.images import layer
from bpfroots.jobs import kit
from bpfroots.jobs.guests import Guests
from bpfroots.kernels import Kernel, Request, selftests
from bpfroots.machine import Accel
from bpfroots.progress import Progress
from bpfroots.results.selftests import TEST_MAPS, TEST_PROGS
from bpfroots.selftest import maps, modules, progs_build
from bpfroots.selftest.maps import Unit
from bpfroots.settings import cache_root
from bpfroots.shape import Shape

# Tests ask for several CPUs, and keep programs, maps and logs of all sizes.
_CPUS, _MEMORY_MIB = 2, 2048


@dataclass(frozen=True)
class Site:
    """A kernel and ``program`` of its own tree. ``image`` has the tests in it, ``base`` has not;
    ``files`` is where they are, ``units`` are those of test_maps."""

    kernel: Kernel
    image: images.Image
    report: progs_build.Report
    base: images.Image
    files: Path
    program: str = TEST_PROGS
    units: Sequence[Unit] = ()

    @property
    def shape(self) -> Shape:
        """That of its guests."""
        return self.kernel.shape.at_least(cpus=_CPUS, memory_mib=_MEMORY_MIB)

    def guests(self, accel: Accel, progress: Progress) -> Guests:
        """Guests that have the tests in /selftests."""
        return Guests(self, accel, progress.say)


def tree_of(request: Request, progress: Progress) -> Path:
    """The tree that the tests of a kernel are in, patches applied. Raises UserError where it is not known."""
    if not isinstance(request, kernels.Definition):
        msg = f"--kernel {request.name}: only the kernel is known, not the tree that its tests are in"
        raise UserError(msg, hint="--kernel TREE, or a name in kernels/")
    return kernels.tools_source(request, progress)[0]


def prepare(
    request: Request,
    files: Set[str],
    progress: Progress,
    *,
    as_is: bool,
    place: str = "",
    other: progs_build.Sources | None = None,
) -> Site:
    """Build, or take from the caches, all that the tests in ``files`` of prog_tests/ (all where it is empty)
    need to run on the kernel of their tree; ``as_is``: configured as it is defined. They are built in
    ``place``, by default one for kernels of that name. ``other``: tests of that tree, not of the kernel's.

    Raises UserError for a kernel whose tree is not known, KernelError where something of it does not build,
    InfraError.
    """
    return _prepare(TEST_PROGS, request, files, progress, as_is, place, other)


def prepare_maps(
    request: Request,
    progress: Progress,
    *,
    as_is: bool,
    place: str = "",
    other: progs_build.Sources | None = None,
) -> Site:
    """As `prepare`, for test_maps."""
    units = maps.units(other.tree if other else tree_of(request, progress))
    site = _prepare(TEST_MAPS, request, frozenset(), progress, as_is, place, other)
    return replace(site, units=units)


def _prepare(
    program: str,
    request: Request,
    files: Set[str],
    progress: Progress,
    as_is: bool,
    place: str,
    other: progs_build.Sources | None,
) -> Site:
    layer.require()
    tree = tree_of(request, progress)
    assert isinstance(request, kernels.Definition)  # noqa: S101  (tree_of asked)
    wanted = request if as_is else selftests.variant(request, selftests.fragments(tree))
    kernel = kernels.ensure(wanted, progress)
    kernels.require_options(kernel)
    modules = _modules(kernel, progress)
    built = progs_build.ensure(program, kernel, modules, files, progress, place or kernel.name, other)
    base = kit.image(progress)
    return Site(kernel, layer.layered(base, built.files, built.key), built.report, base, built.files, program)


def _modules(kernel: Kernel, progress: Progress) -> Path | None:
    """The directory with the modules; None for a kernel that can have none: tests that want them are skipped
    then."""
    if why := modules.missing(kernel):
        progress.say(f"tools     no bpf_testmod for {kernel.name}: {why}")
        return None
    cache = Cache(cache_root(), "selftests", progress.say)
    return cache.get(modules.cache_key(kernel), lambda out: modules.build(kernel, out, progress))
