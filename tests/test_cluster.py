"""The cluster without a guest: kernels that a worker builds, who may take part, what is said of failures."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import dask
import msgspec
import pytest

from bpfroots import cluster as seam
from bpfroots import kernels
from bpfroots.cluster import client
from bpfroots.cluster.protocol import checked, digest, same_code
from bpfroots.errors import InfraError, UserError
from bpfroots.programs.protocol import Loaded
from bpfroots.progress import Progress
from tests.cluster import Cluster, certificates
from tests.kernel_project import Project
from tests.kernel_project import project as made_project

_NEEDS: dict[str, float] = {same_code(): 1, "tcg": 1, "guests": 1, "cores": 1, "memory_mib": 456}


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    with contextlib.closing(Cluster(tmp_path)) as made:
        yield made


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Project]:
    with made_project(tmp_path / "fake", monkeypatch) as made:
        yield made


def _run(address: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "bpfroots", "run", "-k", "example", "--scheduler", address],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, **environment},
        check=False,
    )


def _connected(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> client.Cluster:
    """As a process that was started with the cluster's certificates."""
    for name, value in cluster.environment.items():
        monkeypatch.setenv(name, value)
    dask.config.refresh()
    return client.Cluster(cluster.address)


def test_a_kernel_is_built_by_a_worker_and_comes_here(
    cluster: Cluster, project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster.start(XDG_CACHE_HOME=str(tmp_path / "elsewhere"))
    request = kernels.resolve("baseline")
    assert isinstance(request, kernels.Definition)
    assert not kernels.is_built(request)
    connected = _connected(cluster, monkeypatch)
    connected.build(["baseline"], Progress(project.said))
    connected.close()
    assert kernels.is_built(request)
    assert not (project.cache / "bpfroots/build").exists()  # nothing was compiled here
    assert project.ensure("baseline").image.path.is_file()
    key = kernels.key_of(request, Progress(quiet=True))
    assert (tmp_path / "elsewhere/bpfroots/kernel" / key / "bzImage").is_file()


def test_a_worker_that_would_build_another_kernel_is_no_help(
    cluster: Cluster, project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    with made_project(other, monkeypatch) as theirs:
        theirs.fragment("base", "CONFIG_BPF=y\n")
        cluster.start(BPFROOTS_ROOT=str(theirs.root), XDG_CACHE_HOME=str(theirs.cache))
    monkeypatch.setenv("BPFROOTS_ROOT", str(project.root))
    monkeypatch.setenv("XDG_CACHE_HOME", str(project.cache))
    connected = _connected(cluster, monkeypatch)
    connected.build(["baseline"], Progress(project.said))
    connected.close()
    assert "this machine would build another kernel" in project.said.getvalue()
    request = kernels.resolve("baseline")
    assert isinstance(request, kernels.Definition)
    assert not kernels.is_built(request)


def test_without_a_worker_of_this_code_nothing_begins(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    connected = _connected(cluster, monkeypatch)
    with pytest.raises(InfraError, match="0 workers, 0 of this version"):
        connected.guests(_NEEDS)
    cluster.start()
    assert connected.guests(_NEEDS) == 1
    with pytest.raises(InfraError, match=r"1 workers, 1 of this version; none has .*code of yesterday 1"):
        connected.guests(_NEEDS | {"code of yesterday": 1})
    with pytest.raises(InfraError, match=r"memory_mib 1e\+09"):
        connected.guests(_NEEDS | {"memory_mib": 10**9})
    connected.close()


def test_without_a_worker_of_this_code_nothing_is_built(
    cluster: Cluster, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    connected = _connected(cluster, monkeypatch)
    cluster.start()
    monkeypatch.setattr(client, "same_code", lambda: "code of yesterday")
    with pytest.raises(InfraError, match="1 workers, 0 of this version; none has cores 1"):
        connected.build(["baseline"], Progress(project.said))
    connected.close()


def test_strangers_are_not_let_in(cluster: Cluster, tmp_path: Path) -> None:
    """With certificates of another authority, and without any."""
    (tmp_path / "theirs").mkdir()
    for environment in (certificates(tmp_path / "theirs"), {}):
        done = _run(cluster.address, **environment)
        assert done.returncode == 4
        assert "Traceback" not in done.stderr
        assert f"bpfroots: --scheduler {cluster.address}: " in done.stderr


def test_nobody_there() -> None:
    done = _run("tcp://127.0.0.1:1")
    assert done.returncode == 4
    assert "bpfroots: --scheduler tcp://127.0.0.1:1: " in done.stderr
    assert "Traceback" not in done.stderr


def test_without_the_extra_one_is_told_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(UserError, match="not installed") as caught, seam.connect("tcp://127.0.0.1:8786"):
        pass
    assert "[cluster]" in caught.value.hint
    with seam.connect(None) as elsewhere:
        assert elsewhere is None


def test_an_answer_is_what_its_name_says() -> None:
    content = msgspec.msgpack.encode(Loaded("a#duplicate", error="accept"))
    name = digest(content)
    assert checked({name: content}, [name])[name].id == "a#duplicate"
    with pytest.raises(InfraError, match="damaged"):
        checked({name: content.replace(b"accept", b"reject")}, [name])
    with pytest.raises(InfraError, match="missing"):
        checked({}, [name])
