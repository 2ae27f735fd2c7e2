"""What the selftest's own workers are to Docker, on made-up hosts."""

import io
import json
import tarfile
from pathlib import Path

import pytest
from unit.scripted_docker import Script, ScriptedDocker, reply
from unit.trees import tree

from plancton.commands.selftest import busy_workers as burners
from plancton.commands.selftest.busy_workers import COUNT, BurnerError
from plancton.docker.client import Docker
from plancton.host.slice import Layout, Slice
from plancton.workers.container import INSTANCE


@pytest.fixture
def merged(tmp_path: Path) -> Path:
    """A host of today: all programs are below /usr."""
    root = tree(tmp_path, usr={"bin": {}})
    for name in ("bin", "lib"):
        (root / name).symlink_to(f"usr/{name}")
    return root


@pytest.fixture
def split(tmp_path: Path) -> Path:
    """A host whose /bin and /lib are directories of their own."""
    return tree(tmp_path, usr={}, bin={}, lib={})


def entries(image: bytes) -> dict[str, str]:
    with tarfile.open(fileobj=io.BytesIO(image)) as tar:
        return {entry.name: entry.linkname or ("dir" if entry.isdir() else "?") for entry in tar}


def test_image(merged: Path) -> None:
    """The image has an empty directory, and the host's links to what will be in it."""
    assert entries(burners._image(merged)) == {"usr": "dir", "bin": "usr/bin", "lib": "usr/lib"}


def test_image_of_a_split_host(split: Path) -> None:
    """Where there are no links there are more directories."""
    assert entries(burners._image(split)) == {"usr": "dir", "bin": "dir", "lib": "dir"}


def test_mounts(merged: Path) -> None:
    """A link's target is mounted, not the link."""
    assert burners._body("x", "/plancton", 4, merged)["HostConfig"]["Binds"] == ["/usr:/usr:ro"]


def test_mounts_of_a_split_host(split: Path) -> None:
    """Directories are mounted one by one, read-only."""
    binds = burners._body("x", "/plancton", 4, split)["HostConfig"]["Binds"]
    assert binds == ["/usr:/usr:ro", "/bin:/bin:ro", "/lib:/lib:ro"]


@pytest.mark.parametrize(("cpus", "each"), [(1, 1), (2, 1), (3, 2), (4, 2), (255, 128)])
def test_body(merged: Path, cpus: int, each: int) -> None:
    """Together they fill every CPU; alone each can do as little as a worker, and ends by itself."""
    body = burners._body("selftest-1", "/plancton", cpus, merged)
    host = body["HostConfig"]
    assert COUNT * each >= cpus
    assert host["CpuQuota"] == each * host["CpuPeriod"]
    assert f"$i -lt {each} ]" in body["Cmd"][2] and body["Cmd"][2].endswith("exec sleep 60")
    assert (host["CgroupParent"], body["Labels"][INSTANCE]) == ("/plancton", "selftest-1")
    assert (host["CapDrop"], host["SecurityOpt"], host["Privileged"]) == (
        ["ALL"],
        ["no-new-privileges"],
        False,
    )
    assert (body["User"], host["NetworkMode"], host["ReadonlyRootfs"]) == ("65534:65534", "none", True)
    assert host["AutoRemove"] and not host["Init"]


def test_outside_of_the_slice(tmp_path: Path) -> None:
    """A Docker that puts containers elsewhere (a rootless one) is no Docker for Plancton."""
    script: Script = {
        "POST /containers/create": reply(b'{"Id":"c1"}', "201 Created"),
        "POST /containers/c1/start": reply(b"", "204 No Content"),
        "GET /containers/c1/json": reply(json.dumps({"Id": "c1", "State": {"Pid": 1}}).encode()),
    }
    with ScriptedDocker(tmp_path / "s", script) as server, Docker(server.path) as docker:
        slice = Slice(Layout(tmp_path), "plancton_test", "cgroupfs")
        with pytest.raises(BurnerError, match=r"not into /plancton_test: .* runs as root"):
            burners._start(docker, "b1", {}, slice)


def test_one_that_has_ended(tmp_path: Path) -> None:
    """What it said and its exit code tell why."""
    state = {"Id": "c1", "Name": "/b1", "State": {"Running": False, "ExitCode": 127}}
    script: Script = {
        "GET /containers/c1/json": reply(json.dumps(state).encode()),
        "GET /containers/c1/logs": reply(b"sh: not found\n"),
    }
    with ScriptedDocker(tmp_path / "s", script) as server, Docker(server.path) as docker:
        with pytest.raises(BurnerError, match="b1 ended before time, exit code 127: sh: not found"):
            burners.verify(docker, ["c1"])
        with pytest.raises(BurnerError, match="gone before its end"):
            burners.verify(docker, ["c2"])
