"""What a container of Plancton's own lacks, by the flag of `docker run`."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from plancton.host import own_container
from plancton.host.own_container import MARK, own_id, own_stat, why_not_the_host

ID = "0123456789abcdef" * 4
PEER = 77


class Inside:
    """A container with all that it needs, as /proc shows it."""

    def __init__(self, directory: Path) -> None:
        self.proc, self.tree = directory / "proc", directory / "cgroup"
        self.socket = directory / "docker.sock"
        self.mounts = [(str(directory), "ext4"), (str(self.tree), "cgroup2")]
        self.uids = "0 0 4294967295"
        for path in (self.proc / "self", self.proc / str(os.getpid()), self.proc / str(PEER), self.tree):
            path.mkdir(parents=True)
        self.ours(f"0::/docker/{ID}")
        (self.proc / f"{PEER}/cgroup").write_text("0::/system.slice/docker.service\n")

    def ours(self, line: str) -> None:
        (self.proc / f"{os.getpid()}/cgroup").write_text(f"{line}\n")

    def lacks(self, run: Path | None = None) -> str:
        lines = ["1 0 0:1 / / rw - overlay x rw"]
        for number, (point, kind) in enumerate(self.mounts, 2):
            below = [at for at, (other, _) in enumerate(self.mounts, 2) if point.startswith(f"{other}/")]
            lines.append(f"{number} {max(below, default=1)} 0:1 / {point} rw - {kind} x rw")
        (self.proc / "self/mountinfo").write_text("\n".join(lines))
        (self.proc / "self/uid_map").write_text(f"  {self.uids}\n")
        directory = self.socket.parent
        run = run or directory / "run"
        return why_not_the_host(run, directory / "state", str(self.socket), self.proc)


@pytest.fixture
def inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Inside]:
    monkeypatch.setenv(MARK, "1")
    monkeypatch.setattr(own_container, "listener", lambda _: PEER)
    monkeypatch.chdir(tmp_path)  # a socket's name has 108 bytes at most
    with socket.socket(socket.AF_UNIX) as docker:
        docker.bind("docker.sock")
        yield Inside(tmp_path)


def test_nothing(inside: Inside) -> None:
    """A container that was started as documented lacks nothing, and knows itself."""
    assert inside.lacks() == ""
    assert own_id(inside.proc) == ID
    assert own_stat(inside.tree, inside.proc) == inside.tree / f"docker/{ID}/cpu.stat"


def test_directories(inside: Inside) -> None:
    """Directories that are gone with the container are named, all of /run at once."""
    del inside.mounts[0]
    state = inside.socket.parent / "state"
    assert f"-v {state}:{state} " in inside.lacks()
    inside.mounts.append((str(state), "ext4"))
    assert inside.lacks(Path("/run/plancton")).count("-v /run:/run ") == 1


def test_no_socket(inside: Inside) -> None:
    """Docker makes a directory where a mount has none to show: that is no socket."""
    inside.socket.unlink()
    inside.socket.mkdir()
    assert f"-v {inside.socket.parent}:{inside.socket.parent} " in inside.lacks()


def test_namespaces(inside: Inside, monkeypatch: pytest.MonkeyPatch) -> None:
    """Namespaces of its own are named by their flags."""
    (inside.proc / f"{PEER}/cgroup").write_text("0::/../../system.slice/docker.service\n")
    assert "--cgroupns host " in inside.lacks()
    monkeypatch.setattr(own_container, "listener", lambda _: 0)
    assert "--pid host " in inside.lacks()
    inside.uids = "0 100000 65536"
    assert "--userns host " in inside.lacks() and "rootless" in inside.lacks()


def test_cgroups(inside: Inside, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cgroups that can't be seen, or not be written, are named."""
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert "--cap-add DAC_OVERRIDE " in inside.lacks()
    monkeypatch.setattr(os, "statvfs", lambda _: SimpleNamespace(f_flag=os.ST_RDONLY))
    assert "may not write" in inside.lacks() and "-v /sys/fs/cgroup:/sys/fs/cgroup " in inside.lacks()
    inside.mounts.pop()
    assert "-v /sys/fs/cgroup:/sys/fs/cgroup " in inside.lacks()


def test_outside(inside: Inside, monkeypatch: pytest.MonkeyPatch) -> None:
    """Outside of our image's containers nothing is a container of our own."""
    monkeypatch.delenv(MARK)
    assert (own_id(inside.proc), own_stat(inside.tree, inside.proc)) == ("", None)
