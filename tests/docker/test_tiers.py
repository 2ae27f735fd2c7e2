"""What limits the workers where the kernel's idle class does not, and what bounds them besides CPU.

How much of the CPU an owner keeps in each tier is measured by scripts/bench-yield.
"""

import contextlib
import itertools
import json
import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from docker.harness import CPUS, IDLE, Engine, Plancton, wait_for

from plancton.host.sampler import read_process
from plancton.host.slice_bounds import PERIOD, Bounds
from plancton.host.topology import format_cpus
from plancton.model import Tick
from plancton.policy.quota import FREE, GROWTH, LEAST
from plancton.policy.replay import read_recording

pytestmark = pytest.mark.docker

MEGABYTES = 1024**2


def quotas(recording: Path) -> Iterator[float]:
    """The workers' CPUs, all together, of each recorded tick that limits them."""
    for line in read_recording(recording):
        if isinstance(line, Tick) and line.decision.quota is not None:
            yield line.decision.quota


def in_kernel(plancton: Plancton) -> list[float]:
    """CPUs that the kernel gives each of the workers, most first."""
    found = [plancton.quota(plancton.group(each)).split()[0] for each in plancton.ids()]
    return sorted((int(each) / PERIOD for each in found), reverse=True)


def wait_for_quotas(plancton: Plancton, total: float) -> None:
    """Wait until the workers' limits, in Docker and in the kernel, add up to so many CPUs."""
    about = pytest.approx(total, abs=0.05 * CPUS)
    wait_for(
        f"the workers may use {total:g} CPUs",
        lambda: sum(plancton.quotas_in_docker()) == about and sum(in_kernel(plancton)) == about,
        every=0.3,
    )


def test_tier_weight(plancton: Plancton) -> None:
    """Where it may not be of idle class the slice has the least weight that there is."""
    plancton.configure(docker={"tier": "weight"})
    plancton.start()
    plancton.full(CPUS)
    assert plancton.status_json()["tier"] == "weight"
    name, least = ("cpu.shares", "2") if plancton.slice.v1 else ("cpu.weight", "1")
    assert (plancton.slice.cpu / name).read_text().strip() == least
    assert (plancton.slice.cpu / "cpu.idle").read_text().strip() == "0"


@pytest.mark.slow
def test_isolated_cpus(plancton: Plancton) -> None:
    """Isolated CPUs do not count, and neither a worker nor what it starts may run on them."""
    assert CPUS > 1, "this test needs a machine with two CPUs"
    plancton.host.isolate(format_cpus(range(1, CPUS)))
    plancton.start()
    (worker,) = plancton.full(1)
    assert plancton.status_json()["capacity"] == 1
    plancton.host.owner = 0.5 * CPUS
    wait_for(
        "half of it is the owner's",
        lambda: (plancton.status_json()["owner"] or 0) == pytest.approx(0.5, abs=0.1),
    )
    pid = plancton.engine.inspect(worker)["State"]["Pid"]
    may_use = re.search(r"Cpus_allowed_list:\s(.*)", Path(f"/proc/{pid}/status").read_text())
    assert may_use and may_use[1] == "0"
    plancton.host.isolate("")
    wait_for("all count again", lambda: plancton.status_json()["capacity"] == CPUS)


def test_tier_quota(plancton: Plancton) -> None:
    """Docker's limits follow the owner: down to next to nothing at once, and back step by step."""
    recording = plancton.directory / "recording"
    plancton.configure(docker={"tier": "quota"}, yielding={"grace_kill": "1h"})
    plancton.start("--record", str(recording))
    plancton.full(CPUS)
    assert plancton.status_json()["tier"] == "quota"
    wait_for_quotas(plancton, (1 - FREE) * CPUS)
    plancton.host.owner = CPUS
    wait_for_quotas(plancton, LEAST * CPUS)
    # The first tick may have seen a part of the owner's load only; the next one sees all of it.
    wait_for("the workers get nothing", lambda: min(quotas(recording)) == 0.0)
    wait_for("Docker knows", lambda: max(plancton.quotas_in_docker()) == LEAST)
    cut = len(list(quotas(recording)))
    plancton.host.owner = 0
    wait_for_quotas(plancton, (1 - FREE) * CPUS)
    steps = [after - before for before, after in itertools.pairwise(list(quotas(recording))[cut - 1 :])]
    assert max(steps) <= GROWTH * CPUS + 0.001, f"grew too quickly: {steps}"


def test_quota_next_to_a_steady_owner(plancton: Plancton) -> None:
    """Next to an owner who always uses half of the CPUs the workers have the rest, for good."""
    recording = plancton.directory / "recording"
    plancton.configure(docker={"tier": "quota"}, yielding={"grace_kill": "1h"})
    plancton.start("--record", str(recording))
    plancton.full(CPUS)
    plancton.host.owner = CPUS / 2
    wait_for_quotas(plancton, (0.5 - FREE) * CPUS)
    seen = len(list(quotas(recording)))
    wait_for("it goes on", lambda: len(list(quotas(recording))) > seen + 5, every=0.5)
    wait_for_quotas(plancton, (0.5 - FREE) * CPUS)


def test_cap_room(plancton: Plancton) -> None:
    """With yield.cap: room the workers get less than the owner leaves; without, nothing limits
    them."""
    plancton.configure(yielding={"grace_kill": "1h", "cap": "room"})
    plancton.start()
    plancton.full(CPUS)
    assert plancton.status_json()["tier"] == "kernel"
    plancton.host.owner = CPUS / 4
    wait_for_quotas(plancton, (0.75 - FREE) * CPUS)
    assert plancton.yields
    plancton.configure(yielding={"cap": "none"})
    wait_for("their limits are gone", lambda: set(plancton.quotas_in_docker()) == {1.0}, every=0.3)


def test_cap_auto(plancton: Plancton, engine: Engine) -> None:
    """An owner whose processes wait for each other on one CPU, while a worker has the other, is not
    left to wait: the kernel tells, the workers are limited until the owner is done, and status says
    why."""
    assert CPUS > 1, "this test needs a machine with two CPUs"
    plancton.configure(yielding={"grace_kill": "1h"}, worker={"command": "while :; do :; done"})
    loops = " & ".join(["while :; do :; done"] * 3)
    owner = f"{plancton.name}_owner"
    container = engine.run(owner, loops, HostConfig={"CpusetCpus": "0", "CgroupParent": f"/{owner}"})
    # However busy this machine is, the other CPU is to be the workers', whose class is the least.
    name, least = ("cpu.shares", "2") if plancton.slice.v1 else ("cpu.weight", "1")
    (plancton.slice.cpu.parent / owner / name).write_text(least)
    try:
        plancton.start()
        plancton.full(CPUS)
        assert plancton.status_json()["tier"] == "kernel"
        plancton.host.owner = CPUS
        wait_for("the workers are limited", lambda: max(plancton.quotas_in_docker()) < 1.0, every=0.3)
        wait_for("status says why", lambda: "waits for more" in plancton.status_json()["decision"])
    finally:
        engine.remove(container)
    plancton.host.owner = 0
    wait_for("their limits are gone", lambda: set(plancton.quotas_in_docker()) == {1.0}, every=0.3)


def test_ceiling(plancton: Plancton) -> None:
    """All workers together are bounded by the kernel: RAM less the owner's reserve, CPUs less
    theirs."""
    plancton.configure(owner={"reserve_memory": "40%", "reserve_cpus": CPUS / 4})
    plancton.start()
    wait_for("status says so", lambda: "memory_ceiling" in plancton.status_json(), every=0.5)
    ceiling = plancton.slice.ceiling()
    assert ceiling == pytest.approx(0.6 * plancton.host.memory_total, rel=0.01)
    assert plancton.status_json()["memory_ceiling"] == ceiling
    quota = plancton.quota(plancton.slice.path).split()[0]
    assert int(quota) / PERIOD == pytest.approx(0.75 * CPUS), "CPUs of the slice"


@pytest.mark.slow
def test_limits_from_before(plancton: Plancton) -> None:
    """The administrator's own limits, written to the slice before Plancton first came, stay in the
    kernel where they are stricter, also for a second supervisor; doctor says so."""
    group = plancton.slice
    for directory in (group.directory, group.cpu, group.memory):
        directory.mkdir(exist_ok=True)
    memory, quota = ("limit_in_bytes", "cfs_quota_us") if group.v1 else ("max", "max")
    (group.memory / f"memory.{memory}").write_text(str(100 * MEGABYTES))
    (group.cpu / f"cpu.{quota}").write_text(str(3 * PERIOD // 2))
    plancton.calm(2)
    plancton.configure(worker={"memory": "60MiB"})
    for _ in range(2):
        plancton.start()
        plancton.full(1)  # two would need 120 MiB
        plancton.goes_on()
        assert plancton.full(1) and group.ceiling() == 100 * MEGABYTES
        assert plancton.quota(group.path).split()[0] == str(3 * PERIOD // 2)
        assert plancton.yields
        plancton.crash()
    said = plancton.cli("doctor", "--config", str(plancton.config)).stdout
    assert "105 MB of memory, 1.5 CPUs" in said, said


def test_ceiling_holds_without_a_supervisor(plancton: Plancton, engine: Engine) -> None:
    """Workers that together take more memory than the slice may have are ended by the kernel,
    nobody else."""
    hungry = "trap 'exec dd if=/dev/zero of=/dev/null bs=50M count=1000000' USR1"
    plancton.calm(2)
    plancton.configure(worker={"command": f"{hungry}; {IDLE}", "memory": "64MiB"})
    plancton.start()
    ids = plancton.full(2)
    wait_for("the ceiling is set", lambda: plancton.slice.ceiling() is not None)
    plancton.send(signal.SIGKILL)
    plancton.slice.bound(Bounds(memory=80 * MEGABYTES))  # as on a host with next to no memory
    for each in ids:
        plancton.wait_for_trap(each, signal.SIGUSR1)
        engine.call("POST", f"/containers/{each}/kill?signal=SIGUSR1")
    wait_for("one ends", lambda: not all(engine.inspect(i)["State"]["Running"] for i in ids), every=0.2)
    ended = [state for i in ids if not (state := engine.inspect(i)["State"])["Running"]]
    assert all(state["ExitCode"] == 137 for state in ended), f"not killed: {ended}"
    assert engine.answers(), "the engine was hit"


@contextlib.contextmanager
def ahead(*pids: int) -> Iterator[None]:
    """These processes get the CPU that they want, however busy this machine is."""
    for pid in pids:
        renice(pid, -19)
    yield
    for pid in pids:
        with contextlib.suppress(FileNotFoundError):
            renice(pid, 0)


def renice(pid: int, nice: int) -> None:
    for thread in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(ProcessLookupError):
            os.setpriority(os.PRIO_PROCESS, int(thread.name), nice)


def test_flood(plancton: Plancton, engine: Engine) -> None:
    """A worker that floods its output is found and leaves, and no other is started soon."""
    # In tier quota the worker is no idle class: it floods even beside others. There may be more
    # workers than fit, so that the flood is all that holds the next start.
    plancton.configure(worker={"command": "yes", "cpus": CPUS}, docker={"tier": "quota"})
    plancton.start()
    (container,) = plancton.full(1)
    process = read_process(engine.inspect(container)["State"]["Pid"])
    assert process and engine.process
    with ahead(engine.process.pid, process.ppid):  # its lines go through its shim to dockerd
        wait_for("it is told to leave", lambda: plancton.lines("to leave: its output keeps Docker busy"))
        wait_for("status says so", lambda: "had to leave (its output" in json.dumps(plancton.status_json()))
        wait_for("it is gone", lambda: container not in plancton.ids())


@pytest.mark.slow
def test_disk(plancton: Plancton) -> None:
    """Below the disk's reserve, the workers leave one after the other, and none is started."""
    plancton.calm(2)
    plancton.start()
    plancton.full(2)
    plancton.configure(owner={"reserve_disk": "100%"})
    wait_for("one leaves", lambda: plancton.lines("to leave: only", "of disk are free"))
    wait_for("it is gone", lambda: len(plancton.workers()) == 1)
    assert len(plancton.lines("to leave: only")) == 1, plancton.lines("to leave: only")
    wait_for("so is the other", lambda: not plancton.workers())
