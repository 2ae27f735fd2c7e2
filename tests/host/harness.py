"""The machine's own systemd and dockerd, and an owner who loads one of systemd's slices."""

import os
import secrets
import signal
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import gettempdir

import pytest
from docker.harness import BUSYBOX, CPUS, Engine, Plancton, wait_for

from plancton.host.cgroup_mounts import read_layout

SOCKET = Path("/var/run/docker.sock")
RUNTIME_PROPERTIES = Path("/run/systemd/system.control")
KEPT = Path(__file__).resolve().parents[2] / "restarting"
"""What tests after a restart must know. Where it is, the host restarts after the tests
(`machine/agent`)."""
DEBS = KEPT.parent / "debs"
"""Where `scripts/test-host` puts Plancton's Debian package and what that needs."""
RESTARTS = pytest.StashKey[bool]()
"""Whether tests that were chosen come after a restart."""
PATIENCE = 300.0
"""Seconds after which a test gives up. Where all is emulated, on a busy machine, much takes
long."""
WORKER_MEMORY, HELD, READ = 384, 320, 416
"""MiB: what a worker may have, what it holds when asked to, and the file that it reads when asked
to."""
WORKER = f"""
trap 'exit 0' TERM
trap 'exec busybox dd if=/dev/zero of=/dev/zero bs={HELD}M' USR1
trap 'read_on & ' USR2
trap 'kill $!' HUP
read_on() {{
  busybox dd if=/dev/zero of=/file bs=1M count={READ}
  while :; do busybox dd if=/file of=/dev/null bs=1M; done
}}
while :; do
  i=0; while [ $i -lt 200 ]; do i=$((i+1)); done
  busybox sleep 0.5
done
"""
"""Computes now and then: where all is emulated, others lack what it uses. USR1: holds memory as well.
USR2: reads a file larger than its memory over and over, which it can't keep; HUP ends that."""


def is_systemd_on_v2() -> bool:
    """Whether systemd runs this machine, and there is no cgroup v1 on it."""
    if not Path("/run/systemd/system").is_dir():
        return False
    layout = read_layout()
    return layout.v1 == {} and (layout.v2 / "init.scope").is_dir() if layout.v2 else False


class SystemEngine(Engine):
    """The machine's own dockerd: nothing here starts, stops or breaks it."""

    def __init__(self) -> None:
        self.socket, self.process, self.options = SOCKET, None, ()
        self.directory = Path(gettempdir())

    def heal(self) -> None:
        pass


def shell(text: str, plancton: Plancton) -> None:
    """Run a command with the slice's name and directory in $SLICE and $DIRECTORY; it must
    succeed."""
    output(text, plancton)


def output(text: str, plancton: Plancton) -> str:
    names = {"SLICE": plancton.slice.unit, "DIRECTORY": str(plancton.slice.directory)}
    done = subprocess.run(
        ["sh", "-ec", text],
        env={**os.environ, **names},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, f"{text}: {done.stderr}"
    return done.stdout


def in_slice(plancton: Plancton, containers: Iterable[str]) -> set[str]:
    """The containers of these that have a cgroup in the slice, according to the kernel: Docker and
    the supervisor still show workers for a while after their slice was stopped."""
    return {c for c in containers if any(plancton.slice.directory.glob(f"*{c}*"))}


def used(group: Path) -> float:
    """Seconds of CPU that a cgroup has had."""
    return counts(group / "cpu.stat")["usage_usec"] / 1e6


def counts(file: Path) -> dict[str, int]:
    """What the kernel has counted, from a file of names and numbers."""
    return {name: int(value) for name, value in (line.split() for line in file.read_text().splitlines())}


class Owner:
    """A busy process on each CPU, in a scope of this slice of systemd's."""

    def __init__(self, parent: str) -> None:
        self.unit = f"owner-{secrets.token_hex(3)}.scope"
        loops = " & ".join(["while :; do :; done"] * CPUS)
        command = ["systemd-run", "--quiet", "--scope", f"--slice={parent}", f"--unit={self.unit}"]
        tree = read_layout().v2
        assert tree
        self.group = tree / parent / self.unit
        self.process = subprocess.Popen([*command, str(BUSYBOX), "sh", "-c", loops])
        wait_for("the owner is busy", lambda: self.group.exists() and used(self.group) > 0.2, PATIENCE)

    def stop(self) -> None:
        subprocess.run(["systemctl", "kill", "--signal=KILL", self.unit], check=True, timeout=PATIENCE)
        self.process.wait()


@contextmanager
def owner_in(parent: str) -> Iterator[Owner]:
    owner = Owner(parent)
    try:
        yield owner
    finally:
        owner.stop()


@contextmanager
def hung(plancton: Plancton) -> Iterator[None]:
    """The supervisor does nothing: only the kernel protects the owner now."""
    plancton.send(signal.SIGSTOP)
    try:
        yield
    finally:
        plancton.send(signal.SIGCONT)
