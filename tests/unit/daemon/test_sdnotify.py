"""What a service manager is told, through a real datagram socket."""

import os
import secrets
import signal
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers.wait import wait_for

from plancton.daemon.sdnotify import INTERVAL, Service
from plancton.daemon.upgrade import execute_again
from plancton.request_files import request
from plancton.status_reading import read_status

DEADLINE = 30.0


class Manager:
    """The manager's end of the socket."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(address.replace("@", "\0", 1))
        self.socket.settimeout(DEADLINE)

    def heard(self) -> list[str]:
        return self.socket.recv(4096).decode().splitlines()

    def silent(self) -> bool:
        self.socket.setblocking(False)
        try:
            self.socket.recv(4096)
        except BlockingIOError:
            return True
        finally:
            self.socket.settimeout(DEADLINE)
        return False


@pytest.fixture(params=["path", "abstract"])
def manager(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Manager]:
    made = Manager(
        str(tmp_path / "n.sock") if request.param == "path" else f"@plancton-{secrets.token_hex(4)}"
    )
    yield made
    made.socket.close()


def test_words(manager: Manager) -> None:
    """Ready at the first tick, then alive as often as the watchdog needs; a sentence when it
    changes."""
    service = Service({"NOTIFY_SOCKET": manager.address, "WATCHDOG_USEC": "8000000"})
    service.ticked(lambda: "one", 100.0)
    assert manager.heard() == ["READY=1", "WATCHDOG=1", "STATUS=one"]
    service.ticked(lambda: "two", 103.9)
    assert manager.silent()
    service.ticked(lambda: "two", 104.0)
    assert manager.heard() == ["WATCHDOG=1", "STATUS=two"]
    service.ticked(lambda: "two", 108.0)
    assert manager.heard() == ["WATCHDOG=1"]
    service.stopping(35.5)
    assert manager.heard() == ["STOPPING=1", "EXTEND_TIMEOUT_USEC=35500000"]
    service.reloading()
    word, at = manager.heard()
    assert word == "RELOADING=1" and at.removeprefix("MONOTONIC_USEC=").isdecimal()


@pytest.mark.parametrize(
    "variables", [{}, {"WATCHDOG_USEC": "2", "WATCHDOG_PID": "1"}, {"WATCHDOG_USEC": "soon"}]
)
def test_without_a_watchdog(manager: Manager, variables: dict[str, str]) -> None:
    """Without our own watchdog, only changes are sent, and not too often."""
    service = Service({"NOTIFY_SOCKET": manager.address, **variables})
    service.ticked(lambda: "one", 100.0)
    manager.heard()
    service.ticked(lambda: "two", 100.0 + INTERVAL - 0.1)
    assert manager.silent()
    service.ticked(lambda: "two", 100.0 + INTERVAL)
    assert "STATUS=two" in manager.heard()


@pytest.mark.parametrize("address", ["/nowhere/socket", "vsock:2:1", "@", ""])
def test_nobody_listens(address: str) -> None:
    """A missing or unknown manager causes no error."""
    environ = {"NOTIFY_SOCKET": address, "HOME": "/"}
    service = Service(environ)
    service.ticked(lambda: "one", 1.0)
    service.stopping(1.0)
    service.reloading()
    assert environ == {"HOME": "/"}


class Supervisor:
    """A real one, without Docker."""

    def __init__(self, root: Path) -> None:
        self.run = root / "run"
        self.manager = Manager(str(root / "n.sock"))
        config = root / "config.yaml"
        config.write_text(f"docker: {{socket: {root}/none, slice: plancton_test}}")
        environ = {
            **os.environ,
            "NOTIFY_SOCKET": self.manager.address,
            "PLANCTON_RUN_DIR": str(self.run),
            "PLANCTON_STATE_DIR": str(root / "state"),
        }
        command = [str(Path(sys.executable).with_name("plancton")), "run", "--config", str(config)]
        self.process = subprocess.Popen(command, env=environ, stderr=subprocess.PIPE, text=True)

    def tells(self, word: str) -> None:
        """Wait for that."""
        wait_for(word, lambda: word in self.manager.heard(), every=0.0)

    def mode(self) -> str:
        status = read_status(self.run)
        return status.mode if status else ""

    def is_there(self) -> bool:
        return (
            self.process.poll() is None and str(self.process.pid) in (self.run / "plancton.pid").read_text()
        )


@pytest.fixture
def supervisor(tmp_path: Path) -> Iterator[Supervisor]:
    made = Supervisor(tmp_path)
    yield made
    made.process.kill()
    made.process.communicate()
    made.manager.socket.close()


def test_supervisor(supervisor: Supervisor) -> None:
    """A real supervisor is ready after its first tick, stays the same process when it restarts in
    place, and announces both that and its end."""
    supervisor.tells("READY=1")
    assert supervisor.is_there()
    supervisor.process.send_signal(signal.SIGHUP)
    supervisor.tells("RELOADING=1")
    supervisor.tells("READY=1")
    assert supervisor.is_there()
    supervisor.process.terminate()
    supervisor.tells("STOPPING=1")
    assert supervisor.process.wait(DEADLINE) == 0


@pytest.mark.parametrize(("number", "said"), [(signal.SIGHUP, "RELOADING=1"), (signal.SIGTERM, "STOPPING=1")])
def test_signal_during_a_restart(supervisor: Supervisor, number: int, said: str) -> None:
    """A signal that comes as soon as a supervisor has executed itself again is obeyed."""
    supervisor.tells("READY=1")
    supervisor.process.send_signal(signal.SIGHUP)
    supervisor.tells("RELOADING=1")
    words = Path(f"/proc/{supervisor.process.pid}/cmdline")
    wait_for("it is another program", lambda: b"plancton.daemon" in words.read_bytes(), every=0.0)
    supervisor.process.send_signal(number)
    supervisor.tells(said)


def test_finishing_during_a_restart(supervisor: Supervisor) -> None:
    """A supervisor that was asked to end with its last worker still is when it has executed itself."""
    supervisor.tells("READY=1")
    request(supervisor.run, "finish")
    wait_for("it finishes", lambda: supervisor.mode() == "draining")
    supervisor.process.send_signal(signal.SIGHUP)
    supervisor.tells("RELOADING=1")
    supervisor.tells("READY=1")
    assert supervisor.is_there() and supervisor.mode() == "draining"


def test_signal_before_a_restart(monkeypatch: pytest.MonkeyPatch) -> None:
    """A signal that came too late to be obeyed is there for the program that is executed."""
    monkeypatch.setattr(os, "execv", lambda *_: None)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    try:
        execute_again(Service({}), None, [signal.SIGUSR1], deque([signal.SIGUSR1]))
        assert signal.SIGUSR1 in signal.sigpending()
    finally:
        signal.sigtimedwait([signal.SIGUSR1], 0.0)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
