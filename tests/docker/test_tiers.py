"""What protects the owner where the kernel's idle class does not, and the bounds other than CPU."""

import json
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from docker.harness import CPUS, Engine, Load, Plancton, idle_cpus, wait_for

from plancton.host.cgroup_files import PERIOD, Bounds
from plancton.model import Tick
from plancton.policy.replay import read_recording

pytestmark = pytest.mark.docker

SETTLED = 0.15
"""CPUs, as a part of all, between which the workers' limit may move when nothing changes."""
MEGABYTES = 1024**2


def quotas(recording: Path) -> Iterator[tuple[float, float]]:
    """The time and the workers' limit of each recorded tick that has one."""
    for line in read_recording(recording):
        if isinstance(line, Tick) and line.decision.quota is not None:
            yield line.observation.time, line.decision.quota


def test_tier_weight(plancton: Plancton, owner: Load) -> None:
    """With the least weight, the owner has nine tenths of every CPU at once."""
    plancton.configure(docker={"tier": "weight"})
    owner.start()
    alone = owner.share(3)
    owner.stop()
    plancton.start()
    plancton.full(CPUS)
    assert plancton.status_json()["tier"] == "weight"
    owner.start()
    beside = owner.share(4)
    print(f"the owner gets {beside:.2f} CPUs beside the workers, {alone:.2f} alone")
    assert beside >= 0.9 * alone


def test_tier_quota(plancton: Plancton, owner: Load) -> None:
    """Docker's limits alone follow the owner: he has 90 % of the CPUs in 3 s, and the workers again in 15."""
    recording = plancton.directory / "recording"
    plancton.configure(docker={"tier": "quota"}, yielding={"grace_kill": "1h"})
    owner.start()
    alone = owner.share(3)
    owner.stop()
    plancton.start("--record", str(recording))
    plancton.full(CPUS)
    time.sleep(20)  # nobody else is there: what is looked at later is how calm that was
    calm = list(quotas(recording))[-15:]
    owner.start()
    time.sleep(3)  # what is measured is what it has after that time
    beside = owner.share(4)
    assert plancton.status_json()["tier"] == "quota"
    owner.stop()
    time.sleep(15)
    used, idle = plancton.used(), idle_cpus()
    time.sleep(4)
    used, idle = plancton.used() - used, idle_cpus() - idle
    moves = max(limit for _, limit in calm) - min(limit for _, limit in calm)
    print(f"the owner gets {beside:.2f} CPUs from the 3rd second on, {alone:.2f} alone;")
    print(f"then the workers {used / (used + idle):.0%} of what is left; alone their limit moved {moves:.2f}")
    assert beside >= 0.9 * alone, list(quotas(recording))
    assert used / (used + idle) >= 0.9, list(quotas(recording))
    assert moves <= SETTLED * CPUS, f"the limit swings with no owner: {calm}"


def test_quota_is_calm_beside_a_steady_owner(plancton: Plancton, owner: Load) -> None:
    """With an owner who always uses half of the CPUs, the workers' limit settles."""
    recording = plancton.directory / "recording"
    plancton.configure(docker={"tier": "quota"}, yielding={"grace_kill": "1h"})
    plancton.start("--record", str(recording))
    plancton.full(CPUS)
    owner.start(CPUS // 2)
    time.sleep(30)  # it settles within 15 s, and is looked at for another 15
    calm = [limit for _, limit in quotas(recording)][-15:]
    left = CPUS - CPUS // 2
    print(f"the limit is {min(calm):.2f} to {max(calm):.2f} CPUs of {left}")
    assert max(calm) - min(calm) <= SETTLED * CPUS, f"the limit swings: {calm}"
    assert min(calm) >= 0.75 * left, f"the workers get too little: {calm}"
    assert owner.share(3) >= 0.9 * CPUS // 2


def test_ceiling(plancton: Plancton) -> None:
    """The kernel bounds all workers together: RAM and CPUs less the owner's reserves."""
    plancton.configure(owner={"reserve_memory": "40%", "reserve_cpus": CPUS / 4})
    plancton.start()
    wait_for("status says so", lambda: "memory_ceiling" in plancton.status_json(), 20, every=0.5)
    ram = int(Path("/proc/meminfo").read_text().split()[1]) * 1024
    ceiling = plancton.slice.ceiling()
    assert ceiling is not None and abs(ceiling - 0.6 * ram) < 0.01 * ram, f"{ceiling} of {ram}"
    assert plancton.status_json()["memory_ceiling"] == ceiling
    quota = plancton.quota(plancton.slice.path).split()[0]
    assert int(quota) / PERIOD == pytest.approx(0.75 * CPUS), "CPUs of the slice"


def test_ceiling_holds_without_a_supervisor(plancton: Plancton, engine: Engine) -> None:
    """If workers together take more memory than the slice may have, the kernel ends only workers."""
    hungry = "sleep 4; dd if=/dev/zero of=/dev/null bs=50M count=1000000"
    plancton.calm(2)
    plancton.configure(worker={"command": hungry, "memory": "64MiB"})
    plancton.start()
    ids = plancton.full(2)
    wait_for("the ceiling is set", lambda: plancton.slice.ceiling() is not None, 20)
    plancton.send(signal.SIGKILL)
    plancton.slice.bound(Bounds(memory=80 * MEGABYTES))  # as on a host with next to no memory
    wait_for("one ends", lambda: not all(engine.inspect(i)["State"]["Running"] for i in ids), 60, every=0.2)
    ended = [state for i in ids if not (state := engine.inspect(i)["State"])["Running"]]
    assert all(state["ExitCode"] == 137 for state in ended), f"not killed: {ended}"
    assert engine.answers(), "the engine was hit"


def test_flood(plancton: Plancton) -> None:
    """A worker that floods its output is found and leaves, and no other is started soon."""
    plancton.configure(
        worker={"command": "yes", "cpus": 0.5}, pool={"max_workers": 1}, yielding={"worthwhile": 0.1}
    )
    plancton.start()
    plancton.full(1)
    wait_for("it is told to leave", lambda: plancton.lines("to leave: its output keeps Docker busy"), 40)
    wait_for("it is gone", lambda: not plancton.workers(), 30)
    wait_for("status says so", lambda: "flooded its output" in json.dumps(plancton.status_json()), 15)


@pytest.mark.light
def test_disk(plancton: Plancton) -> None:
    """Below the disk's reserve, the workers leave one after the other, and none is started."""
    plancton.calm(2)
    plancton.start()
    plancton.full(2)
    plancton.configure(owner={"reserve_disk": "100%"})
    wait_for("one leaves", lambda: plancton.lines("to leave: only", "of disk are free"), 20)
    wait_for("it is gone", lambda: len(plancton.workers()) == 1, 30)
    assert len(plancton.lines("to leave: only")) == 1, plancton.lines("to leave: only")
    wait_for("so is the other", lambda: not plancton.workers(), 60)


def test_limit_room(plancton: Plancton, owner: Load) -> None:
    """With yield.cap: room, workers don't use all that an owner leaves; without it, nothing limits them."""
    plancton.configure(yielding={"grace_kill": "1h", "cap": "room"})
    plancton.start()
    plancton.full(CPUS)
    assert plancton.status_json()["tier"] == "kernel"
    owner.start(CPUS // 2)
    time.sleep(8)
    used, begin = plancton.used(), time.monotonic()
    time.sleep(4)
    rate = (plancton.used() - used) / (time.monotonic() - begin)
    left = CPUS - CPUS // 2
    print(f"the workers use {rate:.2f} of {left} CPUs")
    assert 0.6 * left <= rate <= 0.98 * left, "as the slice alone, or next to nothing"
    plancton.configure(yielding={"limit": "none"})
    owner.stop()
    wait_for("their limits are gone", lambda: all_quotas(plancton) == {1.0}, 20)


def all_quotas(plancton: Plancton) -> set[float]:
    """CPUs that Docker gives each of the workers."""
    found = [plancton.engine.inspect(each["Id"])["HostConfig"] for each in plancton.workers()]
    return {each["CpuQuota"] / each["CpuPeriod"] for each in found}
