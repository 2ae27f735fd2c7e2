"""A user's supervisor on a host with systemd and pure cgroup v2: what root handed over stays,
whatever systemd does, and the slice is idle class.

The tests share one supervisor and come in the order in which they need it; the last one ends it.
"""

import signal
import time

import pytest
from docker.harness import WithoutRoot, wait_for
from host.harness import PATIENCE, hung, output, owner_in, shell
from host.test_slice import CHANGES, wait_until_put_back

pytestmark = pytest.mark.docker

HANDED = {"cpu.idle", "cpu.weight", "cpu.max", "memory.max", "cgroup.freeze", "cgroup.kill"}


def handed(plancton: WithoutRoot) -> set[str]:
    return {name.removeprefix(f"{plancton.slice.unit}/") for name in plancton.handed()}


def test_is_idle_class(without_root: WithoutRoot) -> None:
    """It is so for the kernel, systemd and the supervisor; the user owns exactly these files."""
    plancton = without_root
    assert plancton.yields and handed(plancton) == HANDED
    assert output("systemctl show --property=CPUWeight $SLICE", plancton) == "CPUWeight=idle\n"
    status = plancton.status
    assert status and status.tier == "kernel" and not status.problems, status


@pytest.mark.parametrize("disturbance", ["daemon-reload", "set-property --runtime $SLICE IOAccounting=yes"])
def test_survives_systemd(without_root: WithoutRoot, disturbance: str) -> None:
    """systemd takes neither the class nor the files away, and bounds that it resets are
    restored."""
    plancton = without_root
    ceiling = plancton.slice.ceiling()
    assert ceiling is not None
    with hung(plancton):
        shell(f"systemctl {disturbance}", plancton)
        assert plancton.yields
        time.sleep(0.5)  # systemd writes some cgroups' files when it has nothing else to do
        assert plancton.yields and handed(plancton) == HANDED
        (plancton.slice.memory / "memory.max").write_text("max")
    wait_for("the ceiling is back", lambda: plancton.slice.ceiling() == ceiling, PATIENCE)


@pytest.mark.parametrize("change", ["cpu.idle", "CPUWeight"])
def test_is_put_back(without_root: WithoutRoot, change: str) -> None:
    """The user's supervisor makes the slice idle class again after root has changed it."""
    plancton = without_root
    position = len(plancton.log)
    with hung(plancton):
        shell(CHANGES[change], plancton)
        assert not plancton.yields
    wait_until_put_back(plancton, position)


def test_slice_is_remade(without_root: WithoutRoot) -> None:
    """A slice that systemd recreated yields as it was prepared to; that its files are root's is
    told with the remedy, and that they were handed over again is noticed."""
    plancton = without_root
    shell("systemctl set-property --runtime $SLICE CPUWeight=idle", plancton)
    position = len(plancton.log)
    shell("systemctl stop $SLICE; systemctl start $SLICE", plancton)
    assert plancton.yields and handed(plancton) == set()
    remedy = "`sudo plancton prepare --user daemon`"
    wait_for("it says so", lambda: plancton.lines("not ours to change", remedy, start=position), PATIENCE)
    plancton.prepare()
    assert handed(plancton) == HANDED
    wait_for("it is as before", lambda: "not ours" not in plancton.problems(), PATIENCE)


def test_the_way_out(without_root: WithoutRoot) -> None:
    """When it stops under a busy owner, its worker gets CPU to leave; the slice stays prepared."""
    plancton = without_root
    plancton.full(1, PATIENCE)
    lifted = False
    with owner_in("user.slice"):
        wait_for("it sees that no CPU is idle", lambda: sees_no_idle_cpu(plancton), PATIENCE)
        position = len(plancton.log)
        plancton.send(signal.SIGTERM)

        def over() -> bool:
            nonlocal lifted
            lifted = lifted or not plancton.yields
            return bool(plancton.lines("is gone", start=position))

        wait_for("the worker is gone", over, PATIENCE, every=0.01)
        assert plancton.ended(PATIENCE) == 0
    assert lifted, "the slice was not lifted"
    assert plancton.yields and handed(plancton) == HANDED


def sees_no_idle_cpu(plancton: WithoutRoot) -> bool:
    status = plancton.status
    return status is not None and status.idle is not None and status.idle < 0.1
