"""A host that would sleep does so though workers compute: what a real logind says."""

from collections.abc import Iterator

import pytest
from docker.harness import Plancton, wait_for
from host.harness import PATIENCE, output, shell, used

pytestmark = pytest.mark.docker

LOGIND = "org.freedesktop.login1 /org/freedesktop/login1 org.freedesktop.login1.Manager"


@pytest.fixture(autouse=True)
def logind(plancton: Plancton) -> Iterator[None]:
    """It is masked on this host, which boots sooner without."""
    # It may have been started several times within seconds, by other tests.
    start = "systemctl unmask $L; systemctl reset-failed $L || :; systemctl start $L"
    shell(start.replace("$L", "systemd-logind"), plancton)
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
