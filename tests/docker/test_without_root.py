"""A supervisor run by a user in the group docker: what root handed over is enough for tier kernel."""

import json
import os
import signal
import time
from pathlib import Path

import pytest
from docker.harness import CPUS, STUBBORN, Load, WithoutRoot, leaver, wait_for

from plancton.host.slice import HANDED

pytestmark = pytest.mark.docker

REPAIR = 10.0
"""Seconds after which what was changed is noticed."""


def is_in_tier(plancton: WithoutRoot, tier: str) -> bool:
    status = plancton.status
    return status is not None and status.tier == tier


def uids(pid: int) -> set[int]:
    status = Path(f"/proc/{pid}/status").read_text()
    (line,) = [line for line in status.splitlines() if line.startswith("Uid:")]
    return set(map(int, line.split()[1:]))


def test_prepared(without_root: WithoutRoot, owner: Load) -> None:
    """Prepared by root, a user's supervisor yields like root's: the owner keeps 95 % of the CPU time."""
    plancton = without_root
    plancton.configure(yielding={"grace_kill": "1h"})
    owner.start()
    alone = owner.share(3)
    owner.stop()
    said = plancton.prepare()
    assert said.count("\n") == 1 and "tier kernel; daemon may write its cpu.idle, " in said, said
    assert plancton.prepare() == said, "once more changes nothing"
    plancton.start()
    plancton.full(CPUS)
    assert uids(plancton.pid) == {plancton.account.pw_uid}
    status = plancton.status_json()
    assert status["tier"] == "kernel" and not plancton.problems(), status
    owner.start()
    time.sleep(1)
    beside = owner.share(4)
    print(
        f"the owner gets {beside:.2f} CPUs beside a user's workers, {alone:.2f} alone: {beside / alone:.1%}"
    )
    assert plancton.yields
    assert beside >= 0.95 * alone


def test_handed_over(without_root: WithoutRoot) -> None:
    """The user owns these files of the slice: no directory, no worker's file, none that moves processes."""
    plancton = without_root
    plancton.calm(1)
    plancton.prepare()
    plancton.start()
    plancton.full(1)
    there = {
        f"{root.name}/{name}" for root in plancton.directories() for name in HANDED if (root / name).exists()
    }
    assert plancton.handed() == there
    assert {f"{plancton.slice.path}/{name}" for name in ("cpu.idle", "cgroup.freeze", "cgroup.kill")} <= there


def test_docker_comes_later(without_root: WithoutRoot) -> None:
    """Prepared and started while Docker is down, as may happen at boot, it reaches tier kernel."""
    plancton = without_root
    plancton.calm(1)
    plancton.engine.terminate()
    assert "Docker does not answer: this is for its cgroup driver" in plancton.prepare()
    plancton.start()
    plancton.engine.heal()
    plancton.full(1, timeout=60)
    assert is_in_tier(plancton, "kernel") and plancton.yields
    assert "prepare" not in plancton.problems()


def test_repairs(without_root: WithoutRoot) -> None:
    """If root changes the slice's class or bounds, the user's supervisor restores them."""
    plancton = without_root
    plancton.calm(1)
    plancton.prepare()
    plancton.start()
    plancton.full(1)
    ceiling = plancton.slice.ceiling()
    assert ceiling is not None
    memory = "memory.limit_in_bytes" if plancton.slice.v1 else "memory.max"
    quota = "cpu.cfs_quota_us" if plancton.slice.v1 else "cpu.max"
    before = (plancton.slice.cpu / quota).read_text()
    (plancton.slice.memory / memory).write_text(str(ceiling // 2))
    (plancton.slice.cpu / quota).write_text("1000000")
    wait_for("the ceiling is back", lambda: plancton.slice.ceiling() == ceiling, REPAIR)
    wait_for("so is the quota", lambda: (plancton.slice.cpu / quota).read_text() == before, REPAIR)
    (plancton.slice.cpu / "cpu.idle").write_text("0")
    wait_for("it is idle class again", lambda: plancton.yields, REPAIR)
    assert plancton.lines("the slice had cpu.idle 0 instead of 1: put back to tier kernel")


def test_the_way_out(without_root: WithoutRoot, owner: Load) -> None:
    """While the owner uses every CPU, a worker that must leave is gone within seconds, next to an
    older busy worker, and the owner hardly notices."""
    plancton = without_root
    plancton.configure(worker={"command": leaver()}, yielding={"grace_kill": "12s"})
    plancton.prepare()
    plancton.start()
    plancton.full(CPUS)
    position = len(plancton.log)
    plancton.configure(pool={"max_workers": CPUS - 1})
    time.sleep(4)  # the limit is known for longer than the load: only the youngest leaves
    owner.start()
    wait_for("one is told", lambda: plancton.lines("asking", "to leave", start=position), 20, every=0.01)
    start, used, had = time.monotonic(), plancton.used(), owner.seconds()
    lifted = False

    def is_gone() -> bool:
        nonlocal lifted
        lifted = lifted or not plancton.yields
        return bool(plancton.lines("is gone", start=position))

    wait_for("it is gone", is_gone, 20, every=0.01)
    took = time.monotonic() - start
    wait_for("the slice yields again", lambda: plancton.yields, 1, every=0.01)
    used, had = plancton.used() - used, owner.seconds() - had
    owner.stop()
    print(f"gone in {took:.2f} s, the slice took {used:.2f} s of CPU, the owner had {had:.2f} s")
    assert lifted, "the slice was not lifted"
    assert took < 5
    assert used <= 0.2 * min(took, 5) + 0.2
    plancton.full(CPUS - 1)


def test_the_lift_is_bounded(without_root: WithoutRoot, owner: Load) -> None:
    """Lifted workers that use all CPU they get, and don't leave, take a fifth of a CPU."""
    plancton = without_root
    plancton.configure(worker={"command": STUBBORN, "leave_timeout": "1m"}, yielding={"grace_kill": "1h"})
    plancton.prepare()
    plancton.start()
    plancton.full(CPUS)
    owner.start()
    time.sleep(2)  # the owner's processes have the CPUs to themselves by then
    plancton.send(signal.SIGTERM)
    wait_for("they are lifted", lambda: not plancton.yields, 5, every=0.01)
    start, used = time.monotonic(), plancton.used()
    wait_for("that ends", lambda: plancton.yields, 10, every=0.01)
    took, used = time.monotonic() - start, plancton.used() - used
    print(f"lifted for {took:.1f} s, the slice took {used / took:.2f} CPUs")
    assert 4 < took < 6
    assert 0.05 < used / took < 0.25


def test_stops_at_once_without_docker(without_root: WithoutRoot) -> None:
    """When Docker hangs, `stop --force` ends the workers through the slice's own file."""
    plancton = without_root
    plancton.calm(2)
    plancton.prepare()
    plancton.start()
    plancton.full(2)
    pids = [plancton.engine.inspect(worker)["State"]["Pid"] for worker in plancton.ids()]
    plancton.engine.send(signal.SIGSTOP)
    plancton.send(signal.SIGTERM)
    time.sleep(0.5)  # two signals at once are one
    plancton.send(signal.SIGTERM)
    wait_for("they are dead", lambda: all(not _lives(pid) for pid in pids), 10)


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def test_selftest(without_root: WithoutRoot) -> None:
    """The user can measure that the host yields, with real workers frozen along with the slice."""
    plancton = without_root
    plancton.configure(yielding={"grace_kill": "1h"})
    plancton.prepare()
    plancton.start()
    plancton.full(CPUS)
    done = plancton.cli("selftest", "--json", "--config", str(plancton.config), timeout=90)
    assert done.returncode == 0, done
    assert json.loads(done.stdout)["tier"] == "kernel"
    assert (plancton.slice.directory / "cgroup.freeze").read_text() == "0\n"


def test_not_prepared(without_root: WithoutRoot, owner: Load) -> None:
    """If nobody prepared the host, Docker limits the workers, and status says what root can do; once
    that is done, the kernel yields."""
    plancton = without_root
    plancton.configure(yielding={"grace_kill": "1h"})
    owner.start()
    alone = owner.share(3)
    owner.stop()
    plancton.start()
    plancton.full(CPUS)
    assert is_in_tier(plancton, "quota")
    remedy = "`sudo plancton prepare --user daemon`"
    assert remedy in plancton.problems()
    findings = json.loads(plancton.cli("doctor", "--json", "--config", str(plancton.config)).stdout)[
        "findings"
    ]
    (found,) = [each for each in findings if each["subject"] == "slice"]
    assert found["level"] == "could be better" and remedy in found["text"], found
    owner.start()
    time.sleep(3)  # what is measured is what it has after that time
    beside = owner.share(4)
    owner.stop()
    print(f"the owner gets {beside:.2f} CPUs beside workers that Docker limits, {alone:.2f} alone")
    assert beside >= 0.9 * alone
    plancton.prepare()
    wait_for("the kernel yields", lambda: is_in_tier(plancton, "kernel") and plancton.yields, REPAIR)
    wait_for("that is no problem", lambda: "prepare" not in plancton.problems(), 10)


def test_made_anew(without_root: WithoutRoot) -> None:
    """A slice that somebody recreated belongs to root: the supervisor continues in the tier that is
    left, says what root can do, and takes the slice back once that is done."""
    plancton = without_root
    plancton.calm(1)
    plancton.prepare()
    plancton.start()
    plancton.full(1)
    position = len(plancton.log)
    for path in plancton.directories():
        for file in path.iterdir():
            if file.is_file():
                os.chown(file, 0, 0)
    wait_for("it says so", lambda: plancton.lines("not ours to change", "prepare", start=position), REPAIR)
    wait_for("status, too", lambda: "not ours to change" in plancton.problems(), 10)
    assert is_in_tier(plancton, "kernel")
    (plancton.slice.cpu / "cpu.idle").write_text("0")
    wait_for("tier quota is left", lambda: is_in_tier(plancton, "quota"), REPAIR)
    assert plancton.lines("the slice had cpu.idle 0 instead of 1: tier quota: ", "prepare", start=position)
    plancton.prepare()
    wait_for("it is as it was", lambda: is_in_tier(plancton, "kernel") and plancton.yields, 2 * REPAIR)
    assert plancton.process and plancton.process.poll() is None
