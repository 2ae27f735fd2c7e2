"""A host that would sleep does so though workers compute: a real logind, and a real suspend where
this kernel has one."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from docker.harness import Plancton, wait_for
from host.harness import PATIENCE, output, shell, used

pytestmark = pytest.mark.docker

LOGIND = "org.freedesktop.login1 /org/freedesktop/login1 org.freedesktop.login1.Manager"
RTC = Path("/sys/class/rtc/rtc0")
SECONDS = 20


@pytest.fixture(autouse=True)
def logind(plancton: Plancton) -> Iterator[None]:
    """It is masked on this host, which boots sooner without."""
    shell("systemctl unmask systemd-logind && systemctl start systemd-logind", plancton)
    yield
    shell("systemctl stop systemd-logind && systemctl mask systemd-logind", plancton)


def says(plancton: Plancton, name: str) -> str:
    return output(f"busctl get-property {LOGIND} {name}", plancton).strip()


def test_nothing_keeps_it_awake(plancton: Plancton, workers: set[str]) -> None:
    """While a worker computes nobody inhibits sleep, and logind takes the host for idle."""
    before = used(plancton.slice.directory)
    wait_for("the worker computes", lambda: used(plancton.slice.directory) > before + 0.5, PATIENCE)
    for name in ("BlockInhibited", "DelayInhibited"):
        assert "sleep" not in says(plancton, name) and "idle" not in says(plancton, name)
    assert says(plancton, "IdleHint") == "b true"
    assert "plancton" not in output("systemd-inhibit --list --no-pager --no-legend", plancton)


def test_it_sleeps(plancton: Plancton, workers: set[str]) -> None:
    """The host is suspended while a worker computes, wakes by its clock, and Plancton says so; the
    worker goes on."""
    if not (RTC / "wakealarm").exists() or "freeze" not in Path("/sys/power/state").read_text():
        pytest.skip("this kernel can't be suspended, or would not wake")
    position, boot, awake = len(plancton.log), time.clock_gettime(time.CLOCK_BOOTTIME), time.monotonic()
    (RTC / "wakealarm").write_text(f"+{SECONDS}")
    shell("echo freeze >/sys/power/state", plancton)
    slept = time.clock_gettime(time.CLOCK_BOOTTIME) - boot - (time.monotonic() - awake)
    assert slept > 5, f"it slept for {slept:.1f} s"
    wait_for("the log says so", lambda: plancton.lines("this host was suspended", start=position), PATIENCE)
    before = used(plancton.slice.directory)
    wait_for("the worker goes on", lambda: used(plancton.slice.directory) > before + 0.5, PATIENCE)
    assert plancton.ids() == workers
