"""Real engines that are not supported: Podman's service and a rootless dockerd."""

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
from docker.harness import Engine, Plancton, wait_for

pytestmark = pytest.mark.docker

NOBODY = 65534


class OtherEngine(Engine):
    """Something that answers like Docker."""

    def serve(self, *command: str) -> None:
        self.process = subprocess.Popen(
            command,
            stdout=self._log,
            stderr=self._log,
            env={**os.environ, "XDG_RUNTIME_DIR": str(self.directory)},
        )
        wait_for(f"{command[0]} answers", self.answers)


@contextmanager
def other_engine(*command: str) -> Iterator[OtherEngine]:
    """Run this command, perhaps as nobody; DIR in it is a directory of its own."""
    directory = Path(tempfile.mkdtemp(prefix="plancton-test-"))
    os.chown(directory, NOBODY, NOBODY)
    engine = OtherEngine(directory)
    try:
        engine.serve(*(word.replace("DIR", str(directory)) for word in command))
        yield engine
    finally:
        engine.close()


@contextmanager
def podman() -> Iterator[OtherEngine]:
    """Debian's Podman as root, with storage of its own."""
    places = ("--root", "DIR/root", "--runroot", "DIR/runroot", "--tmpdir", "DIR/tmp")
    how = ("--storage-driver", "vfs", "--cgroup-manager", "cgroupfs", "--events-backend", "file")
    if not shutil.which("podman"):
        pytest.fail("needs podman")
    with other_engine(
        "podman", *places, *how, "system", "service", "--time=0", "unix://DIR/docker.sock"
    ) as engine:
        yield engine


@contextmanager
def rootless() -> Iterator[OtherEngine]:
    """A dockerd of user nobody, who is root in a user namespace only: enough to answer."""
    # It looks for files of the machine's own dockerd in these two, which nobody may not read.
    Path("/etc/docker").mkdir(exist_ok=True)
    hide = "mount -t tmpfs none /run && mount -t tmpfs none /etc/docker"
    places = "--data-root=DIR/data --exec-root=DIR/exec --pidfile=DIR/pid --host=unix://DIR/docker.sock"
    how = "--rootless --group=root --bridge=none --iptables=false --ip-forward=false --storage-driver=vfs"
    user = ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups")
    with other_engine(
        *user, "unshare", "-Urm", "sh", "-c", f"{hide} && exec dockerd {how} {places}"
    ) as engine:
        yield engine


Running = Callable[[], AbstractContextManager[OtherEngine]]


@pytest.mark.parametrize(("which", "words"), [(podman, "this is Podman"), (rootless, "rootless Docker's")])
def test_is_refused(plancton: Plancton, which: Running, words: str) -> None:
    """run, check and selftest exit with 2 and one line, doctor calls it broken; nothing is
    created."""
    with which() as engine:
        plancton.configure(docker={"socket": str(engine.socket)})
        for command in ("run", "run --dry-run", "selftest", f"check {plancton.config}"):
            config = () if command.startswith("check") else ("--config", str(plancton.config))
            done = plancton.cli(*command.split(), *config)
            assert done.returncode == 2, (command, done.stdout, done.stderr)
            (line,) = done.stderr.splitlines()
            assert line.startswith("plancton: ") and words in line and "set docker.socket to" in line, line
        done = plancton.cli("doctor", "--config", str(plancton.config), "--json")
        (found,) = [each for each in json.loads(done.stdout)["findings"] if each["subject"] == "docker"]
        assert done.returncode == 4 and found["level"] == "broken" and words in found["text"], found
        assert engine.containers() == [] and plancton.name not in engine.networks()
    assert plancton.directories() == []


def test_that_comes_later(plancton: Plancton) -> None:
    """A running supervisor also refuses one that answers in Docker's place, and starts nothing."""
    with podman() as engine:
        link = plancton.directory / "later.sock"
        plancton.configure(docker={"socket": str(link)})
        plancton.start()
        link.symlink_to(engine.socket)
        wait_for("it says so", lambda: "this is Podman" in plancton.problems())
        assert plancton.directories() == [] and engine.containers() == []
        assert plancton.cli("stop", "--wait").returncode == 0
