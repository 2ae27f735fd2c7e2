"""Which engines are supported, by real answers to GET /info."""

import json
from pathlib import Path
from typing import Any

import pytest
from unit.scripted_docker import ScriptedDocker, reply

from plancton.docker.client import Docker
from plancton.docker.errors import NotDocker
from plancton.workers.same_host import require

ROOTFUL: dict[str, Any] = {
    "ServerVersion": "20.10.24+dfsg1",
    "CgroupDriver": "cgroupfs",
    "CgroupVersion": "1",
    "SecurityOptions": ["name=seccomp,profile=default"],
}
WITH_SYSTEMD = {**ROOTFUL, "CgroupDriver": "systemd", "CgroupVersion": "2"}
ROOTLESS = {
    **ROOTFUL,
    "CgroupDriver": "none",
    "SecurityOptions": ["name=seccomp,profile=default", "name=rootless"],
    "Warnings": [
        "WARNING: Running in rootless-mode without cgroups. To enable cgroups in rootless-mode,"
        " you need to boot the system in cgroup v2 mode."
    ],
}
ROOTLESS_WITH_SYSTEMD = {**WITH_SYSTEMD, "SecurityOptions": ROOTLESS["SecurityOptions"]}
PODMAN = {
    "ServerVersion": "4.3.1",
    "CgroupDriver": "cgroupfs",
    "CgroupVersion": "1",
    "SecurityOptions": ["name=seccomp,profile=default"],
    "BuildahVersion": "1.28.2",
    "Rootless": False,
}
ROOTLESS_PODMAN = {**PODMAN, "SecurityOptions": ROOTLESS["SecurityOptions"], "Rootless": True}


def served(tmp_path: Path, info: dict[str, Any]) -> ScriptedDocker:
    return ScriptedDocker(tmp_path / "d.sock", {"GET /info": reply(json.dumps(info).encode())})


@pytest.mark.parametrize("info", [ROOTFUL, WITH_SYSTEMD])
def test_docker_that_root_runs(tmp_path: Path, info: dict[str, Any]) -> None:
    """It is supported, with either cgroup driver."""
    with served(tmp_path, info) as server, Docker(server.path) as docker:
        assert require(docker).cgroup_driver == info["CgroupDriver"]


@pytest.mark.parametrize(
    ("info", "words"),
    [
        (ROOTLESS, "rootless Docker"),
        (ROOTLESS_WITH_SYSTEMD, "rootless Docker"),
        ({**ROOTFUL, "CgroupDriver": "none"}, "keeps no cgroups"),
        (PODMAN, "this is Podman 4.3.1"),
        (ROOTLESS_PODMAN, "this is Podman 4.3.1"),
    ],
)
def test_others(tmp_path: Path, info: dict[str, Any], words: str) -> None:
    """Others are refused in one line with the socket, the reason and the remedy."""
    with (
        served(tmp_path, info) as server,
        Docker(server.path) as docker,
        pytest.raises(NotDocker, match=rf"d\.sock: .*{words}.*; set docker\.socket to .* root runs$") as told,
    ):
        require(docker)
    assert "\n" not in str(told.value)
