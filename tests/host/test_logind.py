"""The owner's sessions and input as a real logind has them."""

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from docker.harness import wait_for
from host.harness import PATIENCE

from plancton.files import SHARE
from plancton.host.signals.people import ask_logind, session_ids
from plancton.host.signals.readings import RUN, Signals

UNIT, PAM = "plancton-desktop.service", Path("/etc/pam.d/plancton-desktop")
DESKTOP = """\
auth required pam_permit.so
account required pam_permit.so
session required pam_systemd.so type=wayland class=user
"""
LOGIND = ("org.freedesktop.login1", "/org/freedesktop/login1", "org.freedesktop.login1.Manager")
SANDBOX = frozenset({
    "CapabilityBoundingSet", "DevicePolicy", "LockPersonality", "MemoryDenyWriteExecute", "NoNewPrivileges",
    "PrivateDevices", "PrivateIPC", "PrivateTmp", "PrivateUsers", "ProtectControlGroups", "ProtectHome",
    "ProtectKernelTunables", "ProtectSystem", "RestrictAddressFamilies", "SystemCallFilter",
    "SystemCallErrorNumber",
})  # fmt: skip
"""What the service may not do, as far as it matters here."""
NOBODY_TYPED = Path("/nowhere")
"""Instead of /dev: this machine's terminals have times of their own."""


def run(*words: str) -> str:
    done = subprocess.run(words, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode == 0, f"{words}: {done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def logind() -> Iterator[None]:
    """This machine has none for the other tests: it is slow enough without."""
    run("systemctl", "unmask", "systemd-logind.service")
    run("systemctl", "start", "systemd-logind.service")
    yield
    run("systemctl", "stop", "systemd-logind.service")
    run("systemctl", "mask", "systemd-logind.service")


@pytest.fixture
def desktop(logind: None) -> Iterator[str]:
    """The id of a graphical session."""
    PAM.write_text(DESKTOP)
    run(
        "systemd-run",
        f"--unit={UNIT}",
        f"--property=PAMName={PAM.name}",
        "--property=User=root",
        "sleep",
        "1d",
    )
    wait_for("somebody is logged in", lambda: session_ids(RUN), PATIENCE)
    found = session_ids(RUN)
    assert found
    yield found[0]
    run("systemctl", "stop", UNIT)
    PAM.unlink()
    wait_for("nobody is logged in", lambda: session_ids(RUN) == [], PATIENCE)


def read(name: str) -> float | None:
    signals = Signals(None, "plancton", fresh=0.0, dev=NOBODY_TYPED)
    signals.look(1.0, time.time(), time.localtime())
    return signals.read((name,))


def set_idle(session: str, idle: bool) -> None:
    """What the desktop does after some minutes without input."""
    listed = run("busctl", "call", *LOGIND, "GetSession", "s", session)
    path = listed.split('"')[1]
    hint = ["SetIdleHint", "b", "true" if idle else "false"]
    run("busctl", "call", LOGIND[0], path, "org.freedesktop.login1.Session", *hint)


def test_a_desktop(desktop: str) -> None:
    """A graphical session counts as one, is in use until its desktop says that it is idle, and again
    when it no longer does."""
    assert read("sessions") == 1
    assert read("idle_seconds") == 0
    set_idle(desktop, True)
    wait_for("it is idle", lambda: (read("idle_seconds") or 0) > 0, PATIENCE)
    hints = ask_logind([desktop])
    assert hints and hints[0].kind == "wayland" and hints[0].idle and hints[0].since <= time.time()
    set_idle(desktop, False)
    assert read("idle_seconds") == 0


def test_nobody(logind: None) -> None:
    """Without sessions nobody is logged in, and without terminals nothing tells of input."""
    wait_for("nobody is logged in", lambda: session_ids(RUN) == [], PATIENCE)
    assert read("sessions") == 0 and read("idle_seconds") is None


def test_the_service_may_ask(desktop: str) -> None:
    """In the sandbox of Plancton's service logind answers, too."""
    service = (SHARE / "plancton.service").read_text().splitlines()
    properties = [line for line in service if line.partition("=")[0] in SANDBOX]
    asked = run("systemd-run", "--pipe", "--wait", "--quiet", "--property=User=nobody",
                *(f"--property={line}" for line in properties),
                "loginctl", "show-session", "-pIdleHint", desktop)  # fmt: skip
    assert asked.startswith("IdleHint="), asked
