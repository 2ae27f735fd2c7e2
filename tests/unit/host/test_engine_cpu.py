"""Finding the engine: as services, or else as processes."""

from pathlib import Path

import pytest
from unit.trees import Tree, tree

from plancton.host.engine_cpu import find_engine, service_stat


def process(comm: str, group: str) -> Tree:
    return {"comm": f"{comm}\n", "cgroup": f"12:cpu:/v1\n0::{group}\n"}


def test_services(tmp_path: Path) -> None:
    """dockerd and containerd as systemd services are read through their cgroups, once each."""
    proc = tree(
        tmp_path,
        {
            "10": process("dockerd", "/system.slice/docker.service"),
            "11": process("docker-proxy", "/system.slice/docker.service"),
            "12": process("containerd", "/system.slice/containerd.service"),
            "13": process("bash", "/user.slice/x.scope"),
        },
    )
    assert find_engine(proc, Path("/c")) == [
        Path("/c/system.slice/containerd.service/cpu.stat"),
        Path("/c/system.slice/docker.service/cpu.stat"),
    ]


def test_plain_processes(tmp_path: Path) -> None:
    """Started by hand they are in no service, so each process is read; shims are left out."""
    proc = tree(
        tmp_path,
        {
            "10": process("dockerd", "/"),
            "11": process("containerd", "/user.slice/session.scope"),
            "12": process("containerd-shim", "/"),
            "13": process("dockerd-not", "/"),
            "self": {},
            "cpuinfo": "",
        },
    )
    assert find_engine(proc, Path("/c")) == [proc / "10/stat", proc / "11/stat"]
    assert find_engine(proc, None) == [proc / "10/stat", proc / "11/stat"]


def test_processes_that_vanish(tmp_path: Path) -> None:
    """A process that ends while it is looked at is left out, or read by itself."""
    proc = tree(tmp_path, {"10": {}, "11": {"comm": "dockerd\n"}})
    assert find_engine(proc, Path("/c")) == [proc / "11/stat"]


def test_service_of_a_shim(tmp_path: Path) -> None:
    """A shim inside the engine's service is covered by it; one elsewhere is not."""
    proc = tree(
        tmp_path, {"10": process("shim", "/system.slice/docker.service"), "11": process("shim", "/a")}
    )
    assert service_stat(proc, 10, Path("/c")) == Path("/c/system.slice/docker.service/cpu.stat")
    assert [service_stat(proc, 11, Path("/c")), service_stat(proc, 12, Path("/c"))] == [None, None]


@pytest.mark.parametrize("file", ["comm", "cgroup"])
def test_names_that_are_no_text(tmp_path: Path, file: str) -> None:
    """The kernel cuts a name after 15 bytes, even inside a character: that does not end the
    loop."""
    proc = tree(tmp_path, {"10": process("dockerd", "/a"), "11": process("dockerd", "/b")})
    (proc / "11" / file).write_bytes("0::/проверка"[:-1].encode() + b"\xd0\n")
    assert proc / "10/stat" in find_engine(proc, Path("/c"))


@pytest.mark.parametrize(
    "text", ["", "0::", "0::/\0\n", "\udcff", "0::/a/../b.service\n", "1:x:/y.service\n"]
)
def test_strange_groups(tmp_path: Path, text: str) -> None:
    """A process whose cgroup can't be understood has a figure of its own."""
    tree(tmp_path / "proc/7", {"comm": "dockerd\n"})
    (tmp_path / "proc/7/cgroup").write_bytes(text.encode(errors="surrogateescape"))
    assert find_engine(tmp_path / "proc", tmp_path / "v2") == [tmp_path / "proc/7/stat"]


def test_hidden_processes(tmp_path: Path) -> None:
    """Where others' processes are hidden, the services that systemd has for them are read."""
    proc = tree(tmp_path / "proc", {"10": process("bash", "/user.slice/x.scope")})
    v2 = tree(tmp_path / "v2", {"system.slice": {"docker.service": {"cpu.stat": ""}}})
    assert find_engine(proc, v2) == [v2 / "system.slice/docker.service/cpu.stat"]
    assert find_engine(proc, None) == find_engine(proc, tmp_path / "none") == []
