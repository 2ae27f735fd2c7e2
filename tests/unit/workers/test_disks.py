"""The file systems that workers write to, and which of them is short."""

from pathlib import Path

import pytest
from unit.trees import tree

from plancton.config.load import parse
from plancton.docker.replies import Info, decode
from plancton.units import Portion
from plancton.workers.disks import (
    Disk,
    Disks,
    is_near,
    not_kept,
    read_disk,
    read_disks,
    seconds_to_next_look,
    written_by_workers,
)

ENGINE_29 = b"""{"Driver": "overlayfs", "DriverStatus": [["driver-type", "io.containerd.snapshotter.v1"]],
 "DockerRootDir": "/data/docker", "CgroupDriver": "systemd", "ServerVersion": "29.0.0",
 "Containerd": {"Address": "/run/containerd/containerd.sock", "Namespaces": {"Containers": "moby"}}}"""
MOUNTS = """\
29 1 8:1 / / rw - ext4 /dev/sda1 rw
30 29 0:50 / /nfs rw - nfs4 server:/x rw
31 30 8:2 / /nfs/local rw - xfs /dev/sdb1 rw
"""


def paths(info: Info, tmp_path: Path, mounts: str = "[]") -> tuple[str, ...]:
    proc = tree(tmp_path, self={"mountinfo": MOUNTS})
    return written_by_workers(info, parse(f"worker: {{mounts: {mounts}}}", "FILE"), proc)


def test_classic_store(tmp_path: Path) -> None:
    """Docker keeps all of it below its data root."""
    assert paths(Info(docker_root_dir="/data", driver="overlay2"), tmp_path) == ("/data",)


def test_containerd_store(tmp_path: Path) -> None:
    """With containerd's image store, what containers write is where containerd keeps its data."""
    info = decode(ENGINE_29, Info, "x")
    assert paths(info, tmp_path) == ("/data/docker", "/var/lib/containerd")
    own = ENGINE_29.replace(b"/run/containerd/", b"/var/run/docker/containerd/")
    assert paths(decode(own, Info, "x"), tmp_path) == ("/data/docker",), "dockerd's own containerd"


def test_writable_mounts(tmp_path: Path) -> None:
    """What workers may write on a disk of this host counts; a network's file system is no disk."""
    mounts = "['/a:/a:rw', '/b:/b', '/nfs/c:/c:rw', '/nfs/local/d:/d:rw,rslave']"
    assert paths(Info(docker_root_dir="/data"), tmp_path, mounts) == ("/data", "/a", "/nfs/local/d")


@pytest.mark.parametrize(
    ("free", "inodes", "reserve", "short"),
    [
        (10, 0.5, "5%", False),
        (4, 0.5, "5%", True),
        (10, 0.04, "5%", True),
        (10, None, "5%", False),
        (10, 0.5, "11B", True),
        (10, 0.1, "11B", True),
    ],
)
def test_margin(free: int, inodes: float | None, reserve: str, short: bool) -> None:
    """A disk is short of blocks or of inodes, of which the same part is reserved."""
    assert (Disk("/x", free, 100, inodes).margin(Portion.parse(reserve)) < 0) is short


def test_read(tmp_path: Path) -> None:
    """The one with the least beyond the reserve counts; those that can't be seen are named."""
    found = read_disks([str(tmp_path), "/no/such"], Portion.parse("5%"))
    assert found.least is not None and found.least.path == str(tmp_path) and found.unseen == ("/no/such",)
    assert found.least.total > 0 and read_disk("/no/such") is None
    assert read_disks([], Portion.parse("5%")) == Disks()


def test_not_kept() -> None:
    """It is said unless nothing is reserved."""
    assert "/data" in not_kept(["/data"], Portion.parse("5%"))
    assert not_kept([], Portion.parse("5%")) == not_kept(["/data"], Portion.parse("0%")) == ""


@pytest.mark.parametrize(
    ("free", "inodes", "seconds"),
    [(100, 1.0, 15.0), (16, 1.0, 5.5), (9, 1.0, 2.0), (6, 1.0, 0.5), (4, 1.0, 0.2), (100, 0.06, 0.5)],
)
def test_when_to_look_again(free: int, inodes: float, seconds: float) -> None:
    """The nearer to the reserve, the sooner: nobody writes all that is between within that time."""
    disk = Disk("/x", free << 30, 100 << 30, inodes)
    assert seconds_to_next_look(Disks(disk), Portion.parse("5%")) == pytest.approx(seconds)
    assert seconds_to_next_look(Disks(), Portion.parse("5%")) == 15.0


def test_near() -> None:
    """Who writes matters once twice the reserve is free."""
    assert is_near(Disk("/x", 9, 100), Portion.parse("5%"))
    assert not is_near(Disk("/x", 10, 100), Portion.parse("5%"))
    assert not is_near(Disk("/x", 0, 0), Portion.parse("5%"))
