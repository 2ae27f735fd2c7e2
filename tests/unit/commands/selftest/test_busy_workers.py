"""How Docker is asked for the selftest's own workers, on made-up hosts."""

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest
from unit.scripted_docker import Script, ScriptedDocker, Step, reply
from unit.trees import tree

from plancton.commands.selftest import busy_workers
from plancton.commands.selftest.busy_workers import COUNT, LIFETIME, BusyWorkerError
from plancton.docker.client import Docker
from plancton.host.cgroup_mounts import Layout
from plancton.host.slice import Slice
from plancton.workers.container import INSTANCE


@pytest.fixture
def merged(tmp_path: Path) -> Path:
    """A modern host: all programs are below /usr."""
    root = tree(tmp_path / "root", usr={"bin": {}})
    for name in ("bin", "lib"):
        (root / name).symlink_to(f"usr/{name}")
    return root


@pytest.fixture
def split(tmp_path: Path) -> Path:
    """A host whose /bin and /lib are separate directories."""
    return tree(tmp_path / "root", usr={}, bin={}, lib={})


class Started:
    """What Docker was given: the image's entries (link targets, or "dir") and the containers'
    bodies."""

    def __init__(self, root: Path, cpus: int = 4, pid: int = 0) -> None:
        self.image = dict[str, str]()
        self.bodies = list[dict[str, Any]]()
        script: Script = {
            "POST /images/create": self._take_image,
            "POST /containers/create": self._take_body,
            "POST /containers/c1/start": reply(b"", "204 No Content"),
            "GET /containers/c1/json": reply(json.dumps({"Id": "c1", "State": {"Pid": pid}}).encode()),
        }
        workers_slice = Slice(Layout(root), "plancton_test", "cgroupfs")
        with ScriptedDocker(root.with_name("s"), script) as server, Docker(server.path) as docker:
            self.ids = busy_workers.start(docker, "selftest-1", workers_slice, cpus, root)

    def _take_image(self, data: bytes) -> list[Step]:
        with tarfile.open(fileobj=io.BytesIO(data)) as tar:
            self.image = {e.name: e.linkname or ("dir" if e.isdir() else "?") for e in tar}
        return reply(b'{"status":"sha256:abc"}\n')

    def _take_body(self, data: bytes) -> list[Step]:
        self.bodies.append(json.loads(data))
        return reply(b'{"Id":"c1"}', "201 Created")


def test_image(merged: Path) -> None:
    """The image has an empty directory, and the host's links into it."""
    assert Started(merged).image == {"usr": "dir", "bin": "usr/bin", "lib": "usr/lib"}


def test_in_a_container(merged: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A container's image serves its selftest as well, and nothing is mounted: the host's programs
    may be elsewhere."""
    monkeypatch.setattr(busy_workers, "own_image", lambda _: "sha256:own")
    started = Started(merged)
    assert started.image == {} and mounts(started) == []
    for body in started.bodies:
        assert body["Image"] == "sha256:own" and body["Entrypoint"][0] == "/bin/sh" and "Cmd" not in body


def test_image_of_a_split_host(split: Path) -> None:
    """Without links there are more directories."""
    assert Started(split).image == {"usr": "dir", "bin": "dir", "lib": "dir"}


def test_mounts(merged: Path) -> None:
    """A link's target is mounted, not the link."""
    assert mounts(Started(merged)) == [("/usr", "/usr", True)]


def test_mounts_of_a_split_host(split: Path) -> None:
    """Directories are mounted one by one, read-only."""
    assert mounts(Started(split)) == [(path, path, True) for path in ("/usr", "/bin", "/lib")]


def mounts(started: "Started") -> list[tuple[str, str, bool]]:
    found = started.bodies[0]["HostConfig"]["Mounts"]
    return [(each["Source"], each["Target"], each["ReadOnly"]) for each in found]


@pytest.mark.parametrize(("cpus", "each"), [(1, 1), (2, 1), (3, 2), (4, 2), (255, 128)])
def test_bodies(merged: Path, cpus: int, each: int) -> None:
    """Together they fill every CPU; each is as unprivileged as a worker, and ends by itself."""
    started = Started(merged, cpus)
    assert len(started.ids) == len(started.bodies) == COUNT and COUNT * each >= cpus
    for body in started.bodies:
        host = body["HostConfig"]
        assert host["CpuQuota"] == each * host["CpuPeriod"]
        assert f"$i -lt {each} ]" in body["Cmd"][2] and body["Cmd"][2].endswith(f"exec sleep {LIFETIME}")
        assert (host["CgroupParent"], body["Labels"][INSTANCE]) == ("/plancton_test", "selftest-1")
        assert (host["CapDrop"], host["Privileged"]) == (["ALL"], False)
        assert host["SecurityOpt"] == ["no-new-privileges"]
        assert (body["User"], host["NetworkMode"], host["ReadonlyRootfs"]) == ("65534:65534", "none", True)
        assert host["AutoRemove"] and not host["Init"]


def test_outside_of_the_slice(merged: Path) -> None:
    """A Docker that puts containers elsewhere (a rootless one) is refused."""
    with pytest.raises(BusyWorkerError, match=r"not put .* into /plancton_test .* on this host itself"):
        Started(merged, pid=1)


def test_one_that_has_ended(tmp_path: Path) -> None:
    """Its output and exit code tell why."""
    state = {"Id": "c1", "Name": "/b1", "State": {"Running": False, "ExitCode": 127}}
    script: Script = {
        "GET /containers/c1/json": reply(json.dumps(state).encode()),
        "GET /containers/c1/logs": reply(b"sh: not found\n"),
    }
    with ScriptedDocker(tmp_path / "s", script) as server, Docker(server.path) as docker:
        with pytest.raises(BusyWorkerError, match=r"b1 ended .* exit code 127: sh: not found"):
            busy_workers.verify(docker, ["c1"])
        with pytest.raises(BusyWorkerError, match="removed before"):
            busy_workers.verify(docker, ["c2"])
