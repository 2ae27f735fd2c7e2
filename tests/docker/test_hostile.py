"""What a job does to blind, stall or kill the supervisor: each attack in a real worker."""

import base64
import os
import time
from pathlib import Path

import pytest
from docker.harness import Engine, Plancton
from helpers.wait import wait_for

from plancton.docker.client import Docker
from plancton.host.cgroup_mounts import PROC
from plancton.host.engine_cpu import find_engine

pytestmark = pytest.mark.docker

MANY = 50
DOCKERD = f"""\
#!/bin/sh
n=0
while [ $n -lt {MANY} ]; do (while :; do sleep 60; done) & n=$((n + 1)); done
while :; do sleep 60; done
"""
"""A script's process has the name of its file, and so have its forks."""


def named(plancton: Plancton, container: str) -> int:
    """How many of a worker's processes are called dockerd."""
    pids = (plancton.slice.tree / plancton.group(container) / "cgroup.procs").read_text().split()
    names = [comm.read_text() for pid in pids if (comm := Path(f"/proc/{pid}/comm")).exists()]
    return names.count("dockerd\n")


def test_processes_named_as_the_engine(plancton: Plancton, engine: Engine, tmp_path: Path) -> None:
    """Dozens of a worker's processes that are called dockerd are not taken for Docker: they take
    no descriptors of the supervisor's, and what they use stays the worker's."""
    plancton.calm(1)
    script = tmp_path / "job" / "dockerd"
    script.parent.mkdir()
    script.write_text(DOCKERD)
    script.chmod(0o755)
    plancton.configure(worker={"command": "/job/dockerd", "mounts": [f"{script.parent}:/job"], "cpus": 1.0})
    plancton.start()
    (container,) = plancton.full(1)
    wait_for("they are there", lambda: named(plancton, container) >= MANY)
    plancton.crash()
    plancton.start()  # it looks for Docker's processes when it starts
    plancton.full(1)
    plancton.goes_on()
    assert engine.process
    found = find_engine(PROC, plancton.slice.tree, engine.process.pid, plancton.slice.path)
    worker = (plancton.slice.tree / plancton.group(container) / "cgroup.procs").read_text().split()
    assert not {path.parent.name for path in found} & set(worker)
    assert PROC / str(engine.process.pid) / "stat" in found
    held = [os.readlink(link) for link in Path(f"/proc/{plancton.pid}/fd").iterdir() if link.is_symlink()]
    assert not [path for path in held if path.split("/")[2:3] and path.split("/")[2] in worker], held


ODD = {
    "pipe": "busybox mkfifo",
    "directory": "busybox mkdir /x; busybox dd if=/dev/zero of=/x/big bs=1M count=20; busybox cp -r /x",
    "link": "busybox ln -s /etc/shadow",
    "endless": "busybox truncate -s 10G",
}


@pytest.mark.parametrize("kind", ODD)
def test_odd_file_in_place_of_the_report(engine: Engine, kind: str) -> None:
    """Whatever a job puts in the report's place: nothing is waited for, no more than asked for is
    read, nothing of the host's, and the next call is answered."""
    container = engine.run(f"plancton-test-{kind}", f"{ODD[kind]} /jobs; echo ready; sleep 600")
    try:
        with Docker(engine.socket) as docker:
            wait_for("it is there", lambda: "ready" in docker.logs(container))
            data = docker.read_file(container, "/jobs", 1000)
            assert data == (bytes(1000) if kind == "endless" else b"")
            assert docker.inspect(container).state.running
    finally:
        engine.remove(container)


WORDY: dict[str, dict[str, object]] = {
    "labels": {"Labels": {f"a{number}": "x" * 1000 for number in range(2000)}},
    "volumes": {"Volumes": {f"/{number}": {} for number in range(101)}},
}


@pytest.mark.parametrize("kind", WORDY)
def test_image_with_too_much_to_say(plancton: Plancton, engine: Engine, kind: str) -> None:
    """An image whose labels would be in each of Docker's events, or that keeps Docker busy with
    volumes, is not used; `status` and `check` say why."""
    seed = engine.run("plancton-test-seed", "true")
    engine.call("POST", f"/commit?container={seed}&repo=plancton-test-wordy&tag=1", WORDY[kind])
    engine.remove(seed)
    plancton.configure(image={"name": "plancton-test-wordy:1"})
    plancton.start()
    wait_for("status says so", lambda: "can't be used" in plancton.problems() and kind in plancton.problems())
    plancton.goes_on()
    assert not engine.containers() and not plancton.lines("starting")
    done = plancton.cli("check", str(plancton.config))
    assert "can't be used" in done.stdout + done.stderr, done


LIES = "while [ $((n += 1)) -le 9000 ]; do echo exit 999999999; done >/var/lib/plancton/work/jobs"
TOKEN = b"eyJhbGciOiJIUzI1NiJ9." + base64.urlsafe_b64encode(b'{"sub":"x"}').rstrip(b"=") + b".c2VjcmV0"


def test_report_of_more_than_is_possible(plancton: Plancton, tmp_path: Path) -> None:
    """A worker that reports thousands of jobs of 32 years each counts as what it can have done."""
    plancton.calm(1)
    token = tmp_path / "token"
    token.write_bytes(TOKEN)
    token.chmod(0o600)
    plancton.configure(
        htcondor={"central_manager": "127.0.0.1", "token_file": str(token)},
        worker={"command": f"{LIES}; echo done; sleep 5", "memory": "256MiB", "cpus": 1.0},
    )
    began = time.monotonic()
    plancton.start()
    wait_for("its report is counted", lambda: (s := plancton.status) and s.work and s.work.jobs_done)
    status, seconds = plancton.status, time.monotonic() - began
    assert status and status.work
    assert status.work.cpu_done <= seconds and status.work.jobs_done <= 1 + 2 * seconds, status.work
