"""A supervisor run by a user in the group docker: what root handed over is enough for tier
kernel."""

import json
import os
import signal
import subprocess
from pathlib import Path

import pytest
from docker.harness import CPUS, WithoutRoot, wait_for

from plancton.host.leaver_boost import LIFT_QUOTA
from plancton.host.slice import HANDED
from plancton.host.slice_bounds import PERIOD
from plancton.policy.quota import LEAST

pytestmark = pytest.mark.docker


def is_in_tier(plancton: WithoutRoot, tier: str) -> bool:
    status = plancton.status
    return status is not None and status.tier == tier


def uids(pid: int) -> set[int]:
    status = Path(f"/proc/{pid}/status").read_text()
    (line,) = [line for line in status.splitlines() if line.startswith("Uid:")]
    return set(map(int, line.split()[1:]))


def test_prepared(without_root: WithoutRoot) -> None:
    """Prepared by root, a user's supervisor has a slice that yields as root's does."""
    plancton = without_root
    said = plancton.prepare()
    assert said.count("\n") == 1 and "tier kernel; daemon may write its cpu.idle, " in said, said
    assert plancton.prepare() == said, "once more changes nothing"
    plancton.start()
    plancton.full(CPUS)
    assert uids(plancton.pid) == {plancton.account.pw_uid}
    status = plancton.status_json()
    assert status["tier"] == "kernel" and not plancton.problems(), status
    assert plancton.yields


def test_handed_over(without_root: WithoutRoot) -> None:
    """The user owns these files of the slice: no directory, no worker's file, none that moves
    processes."""
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
    assert "Docker does not answer" in plancton.prepare()
    plancton.start()
    plancton.engine.heal()
    plancton.full(1)
    assert is_in_tier(plancton, "kernel") and plancton.yields
    assert "prepare" not in plancton.problems()


def test_repairs(without_root: WithoutRoot) -> None:
    """If root changes the slice's class or bounds, the user's supervisor restores them."""
    plancton = without_root
    plancton.calm(1)
    plancton.prepare()
    plancton.start()
    plancton.full(1)
    ceiling = plancton.host.memory_total
    wait_for("the slice has its ceiling", lambda: plancton.slice.ceiling() == ceiling)
    memory = "memory.limit_in_bytes" if plancton.slice.v1 else "memory.max"
    quota = "cpu.cfs_quota_us" if plancton.slice.v1 else "cpu.max"
    before = (plancton.slice.cpu / quota).read_text()
    (plancton.slice.memory / memory).write_text(str(ceiling // 2))
    (plancton.slice.cpu / quota).write_text("1000000")
    wait_for("the ceiling is back", lambda: plancton.slice.ceiling() == ceiling)
    wait_for("so is the quota", lambda: (plancton.slice.cpu / quota).read_text() == before)
    (plancton.slice.cpu / "cpu.idle").write_text("0")
    wait_for("it is idle class again", lambda: plancton.yields)
    text = "the slice had cpu.idle 0 instead of 1: put back to tier kernel"
    wait_for("the log says so", lambda: plancton.lines(text))  # after it is done


def test_the_way_out(without_root: WithoutRoot) -> None:
    """While the owner uses nearly every CPU the younger worker leaves: the slice is lifted, within
    bounds, until it is gone."""
    plancton = without_root
    plancton.hold()
    plancton.prepare()
    plancton.start()
    for container in plancton.full(2):
        plancton.wait_for_trap(container)
    plancton.host.owner = CPUS - 0.2
    wait_for("the slice is lifted", lambda: not plancton.yields, every=0.01)
    if plancton.slice.v1:
        weight = wait_for("it has a weight", lambda: int((plancton.slice.cpu / "cpu.shares").read_text()))
        assert weight <= 1024 * LIFT_QUOTA / PERIOD / CPUS
    else:
        assert plancton.quota(plancton.slice.path) == f"{LIFT_QUOTA} {PERIOD}"
    plancton.let_go()
    wait_for("it is gone", lambda: plancton.lines("is gone", "exit code 0"))
    wait_for("the slice yields again", lambda: plancton.yields)
    plancton.full(1)


def test_the_lift_ends(without_root: WithoutRoot) -> None:
    """Workers that don't leave are lifted for a while only."""
    plancton = without_root
    plancton.hold()
    plancton.prepare()
    plancton.start()
    for container in plancton.full(2):
        plancton.wait_for_trap(container)
    plancton.host.owner = CPUS - 0.2
    wait_for("the slice is lifted", lambda: not plancton.yields, every=0.01)
    wait_for("that ends", lambda: plancton.yields)
    assert len(plancton.ids()) == 2 and not plancton.lines("is gone")


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
    wait_for("it stops", lambda: plancton.lines("stopping"))  # two signals at once are one
    plancton.send(signal.SIGTERM)
    wait_for("they are dead", lambda: all(not _lives(pid) for pid in pids))


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


@pytest.mark.slow
def test_selftest(without_root: WithoutRoot) -> None:
    """The user can measure that the host yields, with real workers frozen along with the slice."""
    plancton = without_root
    plancton.configure(yielding={"grace_kill": "1h"})
    plancton.prepare()
    plancton.start()
    plancton.full(CPUS)
    done = plancton.cli("selftest", "--json", "--config", str(plancton.config), timeout=180)
    assert done.returncode == 0, done
    assert json.loads(done.stdout)["tier"] == "kernel"
    assert (plancton.slice.directory / "cgroup.freeze").read_text() == "0\n"


def test_not_prepared(without_root: WithoutRoot) -> None:
    """Where nobody prepared it, Docker limits the workers, and status says what root can do; once
    that is done the kernel yields."""
    plancton = without_root
    plancton.configure(yielding={"grace_kill": "1h"})
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
    plancton.host.owner = CPUS
    wait_for("Docker limits them", lambda: set(plancton.quotas_in_docker()) == {LEAST}, every=0.3)
    plancton.host.owner = 0
    plancton.prepare()
    wait_for("the kernel yields", lambda: is_in_tier(plancton, "kernel") and plancton.yields)
    wait_for("that is no problem", lambda: "prepare" not in plancton.problems())


def test_made_again(without_root: WithoutRoot) -> None:
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
    wait_for("it says so", lambda: plancton.lines("not ours to change", "prepare", start=position))
    wait_for("status, too", lambda: "not ours to change" in plancton.problems())
    assert is_in_tier(plancton, "kernel")
    (plancton.slice.cpu / "cpu.idle").write_text("0")
    wait_for("tier quota is left", lambda: is_in_tier(plancton, "quota"))
    text = "the slice had cpu.idle 0 instead of 1: tier quota: "
    wait_for("the log says so", lambda: plancton.lines(text, "prepare", start=position))
    plancton.prepare()
    wait_for("it is as it was", lambda: is_in_tier(plancton, "kernel") and plancton.yields)
    assert plancton.process and plancton.process.poll() is None


@pytest.mark.slow
def test_hidden_processes(without_root: WithoutRoot) -> None:
    """Where /proc hides others' processes, workers have an age, so that their lifetime ends, and a
    cgroup, so that their CPU is known; doctor says what is hidden."""
    plancton = without_root
    plancton.host.hides_processes = True
    plancton.calm(1)
    plancton.configure(worker={"lifetime": "15s"})
    plancton.prepare()
    plancton.start()
    (worker,) = plancton.full(1)
    (shown,) = plancton.status_json()["workers"]
    assert shown["cgroup"] == plancton.group(worker) and shown["age"] < 60

    def has_cpu() -> bool:
        status = plancton.status
        return status is not None and any(each.cpu is not None for each in status.workers)

    wait_for("its CPU is known", has_cpu)
    wait_for("its lifetime is over", lambda: plancton.lines("its lifetime", "is over"))
    told = subprocess.run(
        plancton.on_host(plancton.command("doctor", "--config", str(plancton.config))),
        capture_output=True,
        text=True,
        env=plancton.environment,
        check=False,
    )
    assert "are hidden in /proc" in told.stdout, told
