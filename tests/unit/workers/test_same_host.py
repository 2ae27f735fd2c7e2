"""Whether Docker runs on this very host, by what it and this host tell."""

import os
import socket
from pathlib import Path

import pytest
from msgspec.structs import replace
from unit.scripted_docker import ScriptedDocker, reply
from unit.trees import tree

from plancton.docker.client import Docker
from plancton.docker.errors import NotDocker
from plancton.docker.replies import Info, decode
from plancton.workers.same_host import INITIAL, Here, doubts, elsewhere, look_here, require

INFO = Info(kernel_version="6.12.0-amd64", cpus=8)
HERE = Here("6.12.0-amd64", 8, INITIAL, 700, "dockerd", INITIAL)
OTHER = "cgroup:[4026532999]"
DESKTOP = b"""{"DockerRootDir": "/var/lib/docker", "CgroupDriver": "cgroupfs", "CgroupVersion": "2",
 "KernelVersion": "6.10.14-linuxkit", "OperatingSystem": "Docker Desktop", "NCPU": 4,
 "MemTotal": 4108972032, "Name": "docker-desktop", "ServerVersion": "28.0.4",
 "SecurityOptions": ["name=seccomp,profile=unconfined", "name=cgroupns"]}"""


@pytest.mark.parametrize(
    ("here", "word"),
    [
        (HERE, ""),
        (replace(HERE, peer_name="systemd", peer=1), ""),
        (replace(HERE, kernel="6.12.1-amd64"), "another kernel"),
        (replace(HERE, kernel=""), ""),
        (replace(HERE, cgroups=OTHER), "cgroup namespace"),
        (replace(HERE, cgroups=OTHER, peer_cgroups=OTHER), ""),
        (replace(HERE, cgroups=OTHER, peer_cgroups=""), ""),
        (replace(HERE, cgroups=OTHER, peer_name="socat"), ""),
        (replace(HERE, cgroups=OTHER, peer=0, peer_name="", peer_cgroups=""), "in a container"),
        (replace(HERE, peer=0, peer_name="", peer_cgroups=""), ""),
        (Here(), ""),
    ],
)
def test_elsewhere(here: Here, word: str) -> None:
    """Another kernel, or another cgroup namespace, is another host; what can't be seen proves
    nothing."""
    found = elsewhere(INFO, here)
    assert word in found and bool(word) == bool(found), found


@pytest.mark.parametrize(
    ("release", "told"),
    [
        ("6.12-amd64", "6.12.0-amd64"),
        ("6.1.0-13-amd64", "6.1.0-13-amd64"),
        ("5.15.167.4-microsoft-standard-WSL2", "5.15.167.4-microsoft-standard-WSL2"),
        ("7.0", "7.0.0"),
        ("6.1.0", ""),
        ("6.1.0", "<unknown>"),
    ],
)
def test_the_same_kernel(release: str, told: str) -> None:
    """A kernel's release as Docker writes it is the same one."""
    assert elsewhere(replace(INFO, kernel_version=told), replace(HERE, kernel=release)) == ""


@pytest.mark.parametrize(
    ("here", "word"),
    [
        (HERE, ""),
        (replace(HERE, peer_name="docker-socket-p"), ""),
        (replace(HERE, cpus=4), "8 CPUs"),
        (replace(HERE, peer=0, peer_name=""), "pid namespace"),
        (replace(HERE, peer=12, peer_name="ssh"), "ssh (pid 12)"),
    ],
)
def test_doubts(here: Here, word: str) -> None:
    """Other CPUs, or somebody else on Docker's socket, are said."""
    found = doubts(INFO, here)
    assert len(found) == bool(word) and word in "".join(found)


def test_docker_desktop(tmp_path: Path) -> None:
    """Docker Desktop's engine, in a virtual machine, is refused by its kernel."""
    assert decode(DESKTOP, Info, "x").cpus == 4
    with (
        ScriptedDocker(tmp_path / "d.sock", {"GET /info": reply(DESKTOP)}) as server,
        Docker(server.path) as docker,
        pytest.raises(NotDocker, match="linuxkit"),
    ):
        require(docker)


def test_who_listens(tmp_path: Path) -> None:
    """Who listens on the socket is known by name and by its view of the cgroups."""
    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()
        proc = tree(tmp_path / "proc", {"self": {"ns": {}}, str(os.getpid()): {"comm": "ssh\n", "ns": {}}})
        (proc / "self/ns/cgroup").symlink_to(INITIAL)
        (proc / str(os.getpid()) / "ns/cgroup").symlink_to(OTHER)
        here = look_here(str(path), proc)
    assert (here.cgroups, here.peer_cgroups, here.peer_name) == (INITIAL, OTHER, "ssh")


def test_isolated_cpus() -> None:
    """Docker does not count isolated CPUs, which is no sign of another host."""
    assert list(doubts(INFO, replace(HERE, cpus=64, usable=8))) == list(doubts(INFO, HERE))
