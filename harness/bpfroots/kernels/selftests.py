"""The kernel that a tree's own tests want: with the fragments of tools/testing/selftests/bpf.

Same source, same series, same name; another configuration, so another build directory and another key.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from bpfroots import arch
from bpfroots.errors import KernelError
from bpfroots.kernels.spec import Definition
from bpfroots.settings import resource

#: Where they are in a tree.
DIRECTORY = Path("tools/testing/selftests/bpf")
#: The tree's fragments, in the order in which its vmtest.sh takes them: a later line wins.
FRAGMENTS = ("config", "config.vm", f"config.{arch.GUEST.name}")
# What of them an emulated guest is better without, and what tests need that no fragment names.
_OURS = "kernels/config/selftests.config"


def fragments(source: Path) -> tuple[Path, ...]:
    """The fragments that the tree ``source`` has. Raises KernelError for one without any."""
    found = tuple(path for name in FRAGMENTS if (path := source / DIRECTORY / name).is_file())
    if not found:
        msg = f"{source}: no {DIRECTORY}/config there"
        raise KernelError(msg, hint="the kernel's own tests need its source tree")
    return found


def variant(definition: Definition, tree_config: Sequence[Path]) -> Definition:
    """``definition`` with a configuration for the tests of its tree, whose `fragments` are given."""
    return msgspec.structs.replace(
        definition, tree_config=tuple(tree_config), config=(*definition.config, resource(_OURS))
    )
