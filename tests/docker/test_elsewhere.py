"""A Docker whose pids mean something else on this host, such as one in a virtual machine."""

import secrets
import signal
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from docker.harness import BUSYBOX, Engine, Plancton, wait_for
from helpers.docker_proxy import DockerProxy

from plancton.files import read_knob
from plancton.host.cgroup_mounts import Layout, read_layout

pytestmark = pytest.mark.docker

KNOBS = ("cgroup.freeze", "cpu.shares", "cpu.weight", "cpu.idle", "cpu.max", "cpu.cfs_quota_us")


class Owners:
    """A process of the owner's in a cgroup of its own, and what the kernel has in that group's
    files."""

    def __init__(self, layout: Layout) -> None:
        assert layout.v2
        self.name = f"plancton_test_owner_{secrets.token_hex(3)}"
        self.process = subprocess.Popen([str(BUSYBOX), "sleep", "3600"])
        trees = {layout.v2, layout.v1.get("cpu", layout.v2)}
        self.groups = [root / self.name for root in trees]
        for group in self.groups:
            group.mkdir()
            (group / "cgroup.procs").write_text(str(self.process.pid))

    def knobs(self) -> dict[str, str | None]:
        files = [group / name for group in self.groups for name in KNOBS]
        return {str(file): read_knob(file) for file in files}

    def close(self) -> None:
        self.process.kill()
        self.process.wait()

        wait_for("the owner's group is empty", lambda: not any(map(_holds_processes, self.groups)))
        for root in roots(read_layout()):  # Docker made those in the other trees
            with suppress(FileNotFoundError):
                (root / self.name).rmdir()


def roots(layout: Layout) -> set[Path]:
    return {root for root in (layout.v2, *layout.v1.values()) if root}


def _holds_processes(group: Path) -> bool:
    return bool(read_knob(group / "cgroup.procs"))


@pytest.fixture
def owners() -> Iterator[Owners]:
    made = Owners(read_layout())
    try:
        yield made
    finally:
        made.close()


def test_pids_that_are_not_ours(plancton: Plancton, engine: Engine, owners: Owners) -> None:
    """With a Docker whose pids are of other processes here, and whose containers are in no slice
    here, nothing outside the slice is written, no worker stays, and one line says why."""

    def elsewhere(asked: dict[str, Any]) -> dict[str, Any]:
        asked["HostConfig"]["CgroupParent"] = f"/{owners.name}"
        return asked

    def pretends(found: dict[str, Any]) -> dict[str, Any]:
        found["HostConfig"]["CgroupParent"] = plancton.slice.parent
        if found["State"]["Running"]:
            found["State"]["Pid"] = owners.process.pid
        return found

    before = owners.knobs()
    socket = engine.directory / "elsewhere.sock"
    inspect = r"GET /containers/\w+/json"
    create = "POST /containers/create"
    with DockerProxy(socket, engine.socket, asked={create: elsewhere}, answered={inspect: pretends}):
        plancton.configure(docker={"socket": str(socket)})
        plancton.start()
        wait_for("it says why", lambda: "was not in" in plancton.problems())
        wait_for("no worker stays", lambda: not plancton.workers())
        plancton.host.owner = 2.0
        plancton.goes_on()
        assert owners.knobs() == before
        assert len(plancton.lines("was not in")) == 1, plancton.log
        assert plancton.name in plancton.lines("was not in")[0]
        wait_for("it knows of none", lambda: (seen := plancton.status) is not None and not seen.workers)
        assert plancton.status and plancton.status.unprotected
        doctor = plancton.cli("doctor", "--config", str(plancton.config))
        assert doctor.returncode == 4 and "was not in" in doctor.stdout
        plancton.send(signal.SIGTERM)
        assert plancton.ended() == 0
    assert owners.knobs() == before


def test_another_kernel(plancton: Plancton, engine: Engine) -> None:
    """A Docker on another kernel is refused by `run`, `check` and `doctor` before anything is
    made."""

    def desktop(found: dict[str, Any]) -> dict[str, Any]:
        return {**found, "KernelVersion": "6.10.14-linuxkit", "NCPU": 4}

    socket = engine.directory / "elsewhere.sock"
    with DockerProxy(socket, engine.socket, answered={"GET /info": desktop}):
        plancton.configure(docker={"socket": str(socket)})
        file = str(plancton.config)
        for code, *command in (
            (2, "check", file),
            (2, "run", "--config", file),
            (4, "doctor", "--config", file),
        ):
            done = plancton.cli(*map(str, command))
            assert done.returncode == code, done
            assert "linuxkit" in done.stdout + done.stderr
    assert not plancton.directories() and not engine.containers()


def test_another_pid_namespace(plancton: Plancton) -> None:
    """In a pid namespace other than Docker's, doctor says what is hidden and what that costs."""
    apart = ["unshare", "--pid", "--fork", "--mount-proc"]
    command = plancton.command("doctor", "--config", str(plancton.config))
    told = subprocess.run([*apart, *command], capture_output=True, text=True, timeout=60, check=False)
    assert "are hidden in /proc" in told.stdout and "may count as the owner's" in told.stdout, told
