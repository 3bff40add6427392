"""Kernels of distributions: their names, what lies beside them, and one that is downloaded and booted."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from bpfroots.errors import UserError
from bpfroots.images import modules_archive
from bpfroots.jobs.kit import Kit
from bpfroots.kernels import Kernel, ensure, kconfig, packaged, resolve, resolve_all
from bpfroots.kernels.packaged import Package
from bpfroots.progress import Progress
from tests import ROOT

_CLOUD = "debian:linux-image-cloud-amd64"


@pytest.mark.parametrize(
    ("argument", "name", "package", "version"),
    [
        (_CLOUD, "cloud-amd64", "linux-image-cloud-amd64", ""),
        (
            "debian:linux-image-6.1.0-56-amd64=6.1.192-2",
            "6.1.0-56-amd64",
            "linux-image-6.1.0-56-amd64",
            "6.1.192-2",
        ),
        (f"{_CLOUD}/trixie-backports", "cloud-amd64", "linux-image-cloud-amd64", ""),
    ],
)
def test_a_package_is_a_kernel(argument: str, name: str, package: str, version: str) -> None:
    request = resolve(argument)
    _, _, suite = argument.partition("/")
    assert request == Package(name, package, version, suite)
    assert request.argument == argument
    assert resolve_all([argument])[argument] == request


@pytest.mark.parametrize("argument", ["debian:", "debian:bash", "debian:linux-image-x; reboot"])
def test_another_package_is_none(argument: str) -> None:
    with pytest.raises(UserError, match="not the name of a kernel package"):
        resolve(argument)


def test_a_package_that_apt_does_not_know_is_named() -> None:
    with pytest.raises(UserError, match=r"apt knows no package linux-image-0\.99"):
        ensure(resolve("debian:linux-image-0.99"), Progress(quiet=True))


@pytest.fixture(scope="module")
def cloud() -> Kernel:
    return ensure(resolve(_CLOUD), Progress())


@pytest.mark.guest
def test_it_is_as_its_package_has_it(cloud: Kernel) -> None:
    assert cloud.argument == _CLOUD
    assert cloud.image.config is not None
    assert cloud.image.modules is not None
    assert cloud.image.modules.name == cloud.release
    # Its network card is a module, and no lack.
    assert kconfig.parse(cloud.image.config.read_text())["VIRTIO_NET"] == "m"
    assert cloud.image.missing == ()
    assert packaged.is_unpacked(Package("cloud-amd64", "linux-image-cloud-amd64"))


@pytest.mark.guest
def test_its_drivers_come_with_what_they_need(cloud: Kernel) -> None:
    assert cloud.image.modules is not None
    archive = modules_archive(cloud.image.modules)
    for name in ("virtio_pci", "virtio_net", "virtio_ring", "net_failover", "sch_ingress", "cls_bpf"):
        assert f"kernel/{name}.ko\0".encode() in archive
    assert b"modules.dep.bin\0" in archive
    assert b"kernel/ext4.ko" not in archive


@pytest.mark.guest
def test_twin_without_modules_it_cannot_be_a_guest(cloud: Kernel, tmp_path: Path) -> None:
    """The same image and configuration, with no modules to be found."""
    assert cloud.image.config is not None
    boot = tmp_path / "boot"
    boot.mkdir()
    image = boot / cloud.image.path.name
    image.symlink_to(cloud.image.path)
    (boot / cloud.image.config.name).symlink_to(cloud.image.config)
    alone = ensure(resolve(str(boot / image.name)), Progress(quiet=True))
    missing = alone.image.missing
    if alone.image.modules is None:
        assert missing is not None
        assert "VIRTIO_NET" in {one.symbol for one in missing}


@pytest.mark.guest
@pytest.mark.usefixtures("kit")
def test_a_program_is_loaded_on_it_and_on_ours(kit: Kit) -> None:
    program = ROOT / "tests/programs/06-helper-not-for-tc.bpf.c"
    command: list[str] = [
        sys.executable,
        "-m",
        "bpfroots",
        "load",
        str(program),
        "--kernel",
        _CLOUD,
        "--kernel",
        "baseline",
        "--json",
    ]
    done = subprocess.run(command, capture_output=True, timeout=900, text=True, check=False)
    assert done.returncode == 1, done.stderr
    cells = json.loads(done.stdout)["cells"]
    found = {cell["kernel"]: {root["name"]: root["verdict"] for root in cell["roots"]} for cell in cells}
    expected = {"on_kprobe": "accept", "on_tc": "reject"}
    assert found == {"cloud-amd64": expected, "baseline": expected}


@pytest.mark.guest
@pytest.mark.usefixtures("kit")
def test_a_tc_program_is_attached_without_links(cloud: Kernel) -> None:
    """6.1 has none for it: a filter takes their place, whose queueing discipline is a module."""
    assert cloud.release.startswith("6.1.")
    names = ["body/loop-tc+xdp", "gen/iterator-fentry+tc-depth3-ctx_unused-map_value"]
    command = [
        sys.executable,
        "-m",
        "bpfroots",
        "run",
        "--kernel",
        _CLOUD,
        "--mechanism",
        "duplicate",
        "--json",
    ]
    command += ["-k", " or ".join(name.partition("/")[2].split("-depth")[0] for name in names)]
    done = subprocess.run(command, capture_output=True, timeout=900, text=True, check=False)
    assert done.returncode == 0, done.stderr
    cells = {cell["case"]: cell for cell in json.loads(done.stdout)["cells"]}
    assert cells[names[0]]["outcome"] == "pass"
    assert cells[names[1]]["outcome"] == "skip"
    assert "Linux 6.4" in cells[names[1]]["reason"]
