"""Finding the engine: as services, or else as processes."""

import os
import socket
from pathlib import Path

import pytest
from unit.trees import Tree, tree

from plancton.host.engine_cpu import MOST, find_engine, listener, service_stat


def process(comm: str, group: str, uid: int = 0, parent: int = 1, pids: str = "10") -> Tree:
    status = f"Name:\t{comm}\nPPid:\t{parent}\nUid:\t{uid}\t{uid}\t{uid}\t{uid}\nNSpid:\t{pids}\n"
    return {"comm": f"{comm}\n", "cgroup": f"12:cpu:/v1\n0::{group}\n", "status": status}


def found(proc: Path, listening: int | None = None, mount: Path | None = Path("/c")) -> list[Path]:
    return find_engine(proc, mount, listening, "plancton")


def test_services(tmp_path: Path) -> None:
    """dockerd and containerd as systemd services are read through their cgroups, once each."""
    proc = tree(
        tmp_path,
        {
            "1": process("systemd", "/init.scope", parent=0),
            "10": process("dockerd", "/system.slice/docker.service"),
            "11": process("docker-proxy", "/system.slice/docker.service", parent=10),
            "12": process("containerd", "/system.slice/containerd.service"),
            "13": process("bash", "/user.slice/x.scope"),
        },
    )
    expected = [
        Path("/c/system.slice/containerd.service/cpu.stat"),
        Path("/c/system.slice/docker.service/cpu.stat"),
    ]
    assert found(proc, 10) == expected
    assert found(proc, 1) == expected, "systemd listens for dockerd"


def test_plain_processes(tmp_path: Path) -> None:
    """Started by hand they are in no service, so each process is read; shims are left out."""
    proc = tree(
        tmp_path,
        {
            "10": process("dockerd", "/"),
            "11": process("containerd", "/user.slice/session.scope", parent=10),
            "12": process("containerd-shim", "/"),
            "13": process("dockerd-not", "/"),
            "self": {},
            "cpuinfo": "",
        },
    )
    assert found(proc, 10) == [proc / "10/stat", proc / "11/stat"]
    assert found(proc, None, None) == [proc / "10/stat", proc / "11/stat"]


def test_another_engine(tmp_path: Path) -> None:
    """Who listens on our socket is the engine, with what it has started and the containerd that
    they share; another dockerd's work is the owner's."""
    proc = tree(
        tmp_path,
        {
            "10": process("dockerd", "/"),
            "11": process("containerd", "/", parent=10),
            "12": process("docker-proxy", "/", parent=10),
            "20": process("dockerd", "/"),
            "22": process("docker-proxy", "/", parent=20),
            "30": process("containerd", "/", parent=1),
        },
    )
    assert found(proc, 10) == [proc / pid / "stat" for pid in ("10", "11", "12", "30")]


IMPOSTORS = {
    "in the slice": process("dockerd", "/plancton/abc"),
    "of another user": process("dockerd", "/", uid=1000),
    "in a container": process("dockerd", "/", pids="99\t1"),
}


@pytest.mark.parametrize("impostor", IMPOSTORS.values(), ids=IMPOSTORS)
@pytest.mark.parametrize("listening", [10, 1])
def test_a_name_proves_nothing(tmp_path: Path, impostor: Tree, listening: int) -> None:
    """A process that only has the engine's name counts as what it is, so it hides no load."""
    proc = tree(tmp_path, {"10": process("dockerd", "/"), "66": impostor})
    assert found(proc, listening) == [proc / "10/stat"]


def test_parents_in_a_circle(tmp_path: Path) -> None:
    """Pids that were reused while they were read end the search, not the supervisor."""
    circle = {"20": process("dockerd", "/", parent=21), "21": process("dockerd", "/", parent=20)}
    proc = tree(tmp_path, {"10": process("dockerd", "/"), **circle})
    assert found(proc, 10) == [proc / "10/stat"]


def test_not_more_than_can_be_read(tmp_path: Path) -> None:
    """However many processes have the engine's names, dockerd is among those that are read, and
    the number is bounded."""
    proxies = {str(pid): process("docker-proxy", "/", parent=900) for pid in range(100, 300)}
    proc = tree(tmp_path, {**proxies, "900": process("dockerd", "/")})
    paths = found(proc, 900)
    assert proc / "900/stat" in paths and len(paths) == MOST


def test_processes_that_vanish(tmp_path: Path) -> None:
    """A process that ends while it is looked at is left out."""
    proc = tree(tmp_path, {"10": {}, "11": {"comm": "dockerd\n"}, "12": process("dockerd", "/")})
    assert found(proc) == [proc / "12/stat"]


def test_listener(tmp_path: Path) -> None:
    """The listener is the process that listens, and unknown where nobody does."""
    path = tmp_path / "socket"
    assert listener(str(path)) is None
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        assert listener(str(path)) is None
        server.listen()
        assert listener(str(path)) == os.getpid()


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
    assert proc / "10/stat" in found(proc)


@pytest.mark.parametrize(
    "text", ["", "0::", "0::/\0\n", "\udcff", "0::/a/../b.service\n", "1:x:/y.service\n"]
)
def test_strange_groups(tmp_path: Path, text: str) -> None:
    """A process whose cgroup can't be understood has a figure of its own."""
    tree(tmp_path / "proc/7", process("dockerd", "/"))
    (tmp_path / "proc/7/cgroup").write_bytes(text.encode(errors="surrogateescape"))
    assert found(tmp_path / "proc", 7) == [tmp_path / "proc/7/stat"]


def test_hidden_processes(tmp_path: Path) -> None:
    """Where others' processes are hidden, the services that systemd has for them are read."""
    proc = tree(tmp_path / "proc", {"10": process("bash", "/user.slice/x.scope")})
    v2 = tree(tmp_path / "v2", {"system.slice": {"docker.service": {"cpu.stat": ""}}})
    assert found(proc, mount=v2) == [v2 / "system.slice/docker.service/cpu.stat"]
    assert found(proc, mount=None) == found(proc, mount=tmp_path / "none") == []
