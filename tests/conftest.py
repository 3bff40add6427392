"""What several test files need: a kernel and an image to boot, from the caches."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import settings

from bpfroots import images
from bpfroots.jobs.kit import Kit, prepare
from bpfroots.machine import SshIdentity
from bpfroots.progress import Progress

# A shell starts background jobs with SIGINT ignored, and children inherit that: the tests that
# interrupt one would wait for ever.
signal.signal(signal.SIGINT, signal.default_int_handler)
# What is tested are the commands without the options that whoever runs the tests likes best.
os.environ["BPFROOTS_CONFIG"] = os.devnull
# On a busy machine, 0.2 s for an example (hypothesis's own limit) are exceeded by what takes 1 ms.
settings.register_profile("bpfroots", deadline=None)
settings.load_profile("bpfroots")


@pytest.fixture(scope="session")
def kit(pytestconfig: pytest.Config) -> Kit:
    """The baseline kernel, image and toolchain; builds what the caches do not have."""
    manager = pytestconfig.pluginmanager.getplugin("capturemanager")
    with manager.global_and_fixture_disabled():
        return prepare(["baseline"], Progress())


@dataclass(frozen=True)
class GuestKit:
    """Enough to boot one guest by hand."""

    kernel: Path
    initrd: Path
    identity: SshIdentity


@pytest.fixture(scope="session")
def guest_kit(kit: Kit, tmp_path_factory: pytest.TempPathFactory) -> GuestKit:
    keys = images.make_keys()
    initrd = tmp_path_factory.mktemp("initrd") / "initrd"
    images.write_initrd(kit.image.path, images.overlay(keys), initrd)
    return GuestKit(kit.kernels[0].image.path, initrd, SshIdentity(keys.client_private, keys.host_public))
