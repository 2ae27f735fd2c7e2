"""What a service manager is told, through a real datagram socket."""

import os
import secrets
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from plancton.daemon.sdnotify import INTERVAL, Service

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


def test_supervisor(tmp_path: Path) -> None:
    """A real supervisor is ready after its first tick, stays the same process when it restarts in
    place, and announces both that and its end."""
    manager = Manager(str(tmp_path / "n.sock"))
    config = tmp_path / "config.yaml"
    config.write_text(f"docker: {{socket: {tmp_path}/none, slice: plancton_test}}")
    environ = {
        **os.environ,
        "NOTIFY_SOCKET": manager.address,
        "PLANCTON_RUN_DIR": str(tmp_path / "run"),
        "PLANCTON_STATE_DIR": str(tmp_path / "state"),
    }
    command = [str(Path(sys.executable).with_name("plancton")), "run", "--config", str(config)]
    supervisor = subprocess.Popen(command, env=environ, stderr=subprocess.PIPE, text=True)
    try:
        assert "READY=1" in manager.heard()
        assert str(supervisor.pid) in (tmp_path / "run/plancton.pid").read_text()
        supervisor.send_signal(signal.SIGHUP)
        assert "RELOADING=1" in manager.heard()
        assert "READY=1" in manager.heard()
        assert (
            supervisor.poll() is None and str(supervisor.pid) in (tmp_path / "run/plancton.pid").read_text()
        )
        supervisor.terminate()
        assert "STOPPING=1" in manager.heard()
        assert supervisor.wait(DEADLINE) == 0
    finally:
        supervisor.kill()
        supervisor.communicate()
        manager.socket.close()
