"""The machine's own systemd and dockerd, and an owner who loads one of systemd's slices."""

import os
import secrets
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import gettempdir

from docker.harness import BUSYBOX, CPUS, Engine, Plancton, wait_for

from plancton.slice import read_layout

SOCKET = Path("/var/run/docker.sock")
RUNTIME_PROPERTIES = Path("/run/systemd/system.control")
SECONDS = 3.0
"""A share is measured for so long."""


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
    """Run it with the slice's name and directory in $SLICE and $DIRECTORY; it must succeed."""
    output(text, plancton)


def output(text: str, plancton: Plancton) -> str:
    names = {"SLICE": plancton.slice.unit, "DIRECTORY": str(plancton.slice.directory)}
    done = subprocess.run(
        ["sh", "-ec", text],
        env={**os.environ, **names},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, f"{text}: {done.stderr}"
    return done.stdout


def workers_that_run(plancton: Plancton) -> set[str]:
    """Wait until there is a worker on each CPU for Docker, the supervisor and the kernel; their ids.

    When the slice was stopped the first two still show the workers of before for a while.
    """
    deadline = time.monotonic() + 120
    while True:
        found = plancton.full(CPUS, deadline - time.monotonic())
        if all(any(plancton.slice.directory.glob(f"*{container}*")) for container in found):
            return found
        time.sleep(0.2)


def used(group: Path) -> float:
    """Seconds of CPU that a cgroup has had."""
    lines = (group / "cpu.stat").read_text().splitlines()
    return int(dict(line.split() for line in lines)["usage_usec"]) / 1e6


class Owner:
    """A busy process on each CPU, in a scope of this slice."""

    def __init__(self, slice: str) -> None:
        self.unit = f"owner-{secrets.token_hex(3)}.scope"
        loops = " & ".join(["while :; do :; done"] * CPUS)
        command = ["systemd-run", "--quiet", "--scope", f"--slice={slice}", f"--unit={self.unit}"]
        tree = read_layout().v2
        assert tree
        self.group = tree / slice / self.unit
        self.process = subprocess.Popen([*command, str(BUSYBOX), "sh", "-c", loops])
        wait_for("the owner is busy", lambda: self.group.exists() and used(self.group) > 0.2, 20)

    def share(self) -> float:
        """The CPUs that it gets."""
        before, start = used(self.group), time.monotonic()
        time.sleep(SECONDS)  # what is measured is a time
        return (used(self.group) - before) / (time.monotonic() - start)

    def stop(self) -> None:
        subprocess.run(["systemctl", "kill", "--signal=KILL", self.unit], check=True, timeout=60)
        self.process.wait()


@contextmanager
def owner_in(slice: str) -> Iterator[Owner]:
    owner = Owner(slice)
    try:
        yield owner
    finally:
        owner.stop()


@contextmanager
def hung(plancton: Plancton) -> Iterator[None]:
    """The supervisor does nothing: what protects the owner now is the kernel's doing."""
    plancton.send(signal.SIGSTOP)
    try:
        yield
    finally:
        plancton.send(signal.SIGCONT)


@contextmanager
def frozen(plancton: Plancton) -> Iterator[None]:
    """All workers stand still: that is quicker than stopping and starting them."""
    freezer = plancton.slice.directory / "cgroup.freeze"
    freezer.write_text("1")
    try:
        yield
    finally:
        freezer.write_text("0")
