"""A user's supervisor on a host with systemd and pure cgroup v2: what root handed over stays, whatever
systemd does, and the slice is idle class.

The tests share one supervisor and come in the order in which they need it; the last one ends it.
"""

import signal
import time

import pytest
from docker.harness import CPUS, WithoutRoot, wait_for
from host.harness import frozen, hung, output, owner_in, shell
from host.test_slice import CHANGES, KEPT, REPAIR, put_back

pytestmark = pytest.mark.docker

HANDED = {"cpu.idle", "cpu.weight", "cpu.max", "memory.max", "cgroup.freeze", "cgroup.kill"}


def handed(plancton: WithoutRoot) -> set[str]:
    return {name.removeprefix(f"{plancton.slice.unit}/") for name in plancton.handed()}


def test_is_idle_class(without_root: WithoutRoot) -> None:
    """For the kernel, for systemd and by the supervisor's own word; exactly these files are the user's."""
    plancton = without_root
    assert plancton.yields and handed(plancton) == HANDED
    assert output("systemctl show --property=CPUWeight $SLICE", plancton) == "CPUWeight=idle\n"
    status = plancton.status
    assert status and status.tier == "kernel" and not status.problems, status


def test_yields(without_root: WithoutRoot) -> None:
    """An owner keeps nine tenths or more of what they have alone, also while the supervisor hangs."""
    plancton = without_root
    with hung(plancton), owner_in("user.slice") as owner:
        with frozen(plancton):
            alone = owner.share()
        beside = owner.share()
    print(f"the owner keeps {beside / alone:.1%} ({alone:.2f} CPUs alone, {beside:.2f} beside the workers)")
    assert beside >= KEPT * alone


@pytest.mark.parametrize("disturbance", ["daemon-reload", "set-property --runtime $SLICE TasksMax=10000"])
def test_survives_systemd(without_root: WithoutRoot, disturbance: str) -> None:
    """systemd takes neither the class nor the files away, and bounds that it resets are put back."""
    plancton = without_root
    ceiling = plancton.slice.ceiling()
    shell(f"systemctl {disturbance}", plancton)
    assert plancton.yields
    time.sleep(0.5)  # systemd writes some cgroups' files when it has nothing else to do
    assert plancton.yields and handed(plancton) == HANDED
    (plancton.slice.memory / "memory.max").write_text("max")
    wait_for("the ceiling is back", lambda: plancton.slice.ceiling() == ceiling, REPAIR)
    assert ceiling is not None


@pytest.mark.parametrize("change", ["cpu.idle", "CPUWeight"])
def test_is_put_back(without_root: WithoutRoot, change: str) -> None:
    """The user's supervisor makes a slice idle class again that root has changed."""
    plancton = without_root
    position = len(plancton.log)
    shell(CHANGES[change], plancton)
    assert not plancton.yields
    print(f"put back after {put_back(plancton):.1f} s")
    wait_for("the log says so", lambda: plancton.lines("put back", start=position), 2)


def test_made_anew(without_root: WithoutRoot) -> None:
    """A slice that systemd made anew yields as it was prepared to; that its files are root's is told with the
    remedy, and that they were handed over again is noticed."""
    plancton = without_root
    shell("systemctl set-property --runtime $SLICE CPUWeight=idle", plancton)
    position = len(plancton.log)
    shell("systemctl stop $SLICE; systemctl start $SLICE", plancton)
    assert plancton.yields and handed(plancton) == set()
    remedy = "`sudo plancton prepare --user daemon`"
    wait_for("it says so", lambda: plancton.lines("not ours to change", remedy, start=position), REPAIR)
    plancton.prepare()
    assert handed(plancton) == HANDED
    wait_for("it is as before", lambda: "not ours" not in plancton.problems(), 2 * REPAIR)


def test_the_way_out(without_root: WithoutRoot) -> None:
    """When it stops beside a busy owner its workers get CPU to leave with; the slice stays prepared."""
    plancton = without_root
    plancton.full(CPUS, 120)
    lifted: list[float] = []
    with owner_in("user.slice"):
        time.sleep(3)  # what is busy for so long is the owner's
        position, start = len(plancton.log), time.monotonic()
        plancton.send(signal.SIGTERM)

        def over() -> bool:
            if not plancton.yields:
                lifted.append(time.monotonic() - start)
            return len(plancton.lines("is gone", start=position)) == CPUS

        wait_for("all workers are gone", over, 60, every=0.01)
        took = time.monotonic() - start
        assert plancton.ended(60) == 0
    print(f"gone after {took:.1f} s; lifted {len(lifted)} times from {lifted[:1]} to {lifted[-1:]} s")
    assert lifted, "the slice was not lifted"
    assert took < 15
    assert plancton.yields and handed(plancton) == HANDED
