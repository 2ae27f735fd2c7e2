"""The promise, on a real dockerd and in the kernel's own files: idle CPU is used, the owner gets it
back.

How much of it, and how soon, is measured by scripts/bench-yield.
"""

import time
from pathlib import Path

import pytest
from docker.harness import BUSY, CPUS, STUBBORN, Engine, Plancton, wait_for

from plancton.host.leaver_boost import LIFT_QUOTA
from plancton.host.slice_bounds import PERIOD
from plancton.workers.container import INSTANCE

pytestmark = pytest.mark.docker


def exits(engine: Engine, since: float) -> dict[str, tuple[list[str], str]]:
    """Of each container that died: the signals it was sent, and its exit code."""
    found: dict[str, tuple[list[str], str]] = {}
    for event in engine.events(since):
        signals, code = found.get(event["Actor"]["ID"], ([], ""))
        attributes = event["Actor"]["Attributes"]
        if event["Action"] == "kill":
            signals = [*signals, attributes["signal"]]
        if event["Action"] == "die":
            code = attributes["exitCode"]
        found[event["Actor"]["ID"]] = signals, code
    return {container: ended for container, ended in found.items() if ended[1]}


def test_donates(plancton: Plancton) -> None:
    """Workers come by themselves and use CPU, in a slice that yields to everybody else."""
    plancton.configure(worker={"command": BUSY})
    plancton.start()
    plancton.full(CPUS)
    assert plancton.yields
    used = plancton.used()
    wait_for("they use CPU", lambda: plancton.used() > used)
    wait_for("status says so", lambda: (s := plancton.status) is not None and s.donated)
    status = plancton.status_json()
    assert status["running"]
    assert (status["tier"], status["mode"]) == ("kernel", "donating")
    assert {worker["id"] for worker in status["workers"]} == {i[:12] for i in plancton.ids()}


def test_containers_have_the_least_privileges(plancton: Plancton) -> None:
    """Each worker's container is ours by label and slice, and can do as little as possible."""
    mounts = ["/usr:/a", "/var:/b:ro", f"{plancton.directory}:/c:rw"]
    plancton.configure(worker={"mounts": mounts}, pool={"max_workers": 1})
    plancton.start()
    (container,) = plancton.full(1)
    made = plancton.engine.inspect(container)
    host = made["HostConfig"]
    assert made["Config"]["Labels"][INSTANCE] == plancton.instance
    assert made["Config"]["User"] == "65534:65534"
    assert host["CgroupParent"] == plancton.slice.parent
    assert host["CapDrop"] == ["ALL"]
    assert not host["CapAdd"]
    assert not host["Privileged"]
    first, rules = host["SecurityOpt"]
    assert first == "no-new-privileges" and rules.startswith("seccomp={"), rules[:50]
    assert host["PidsLimit"] > 0
    assert host["OomScoreAdj"] == 1000
    assert host["RestartPolicy"]["Name"] == "no"
    assert host["LogConfig"]["Config"] == {"max-size": "10m", "max-file": "1", "compress": "false"}
    assert host["Memory"] == host["MemorySwap"] == 64 * 1024**2
    there = {m["Destination"]: m["RW"] for m in made["Mounts"]}
    assert not there.pop("/etc/resolv.conf", False), "the host's name servers, for reading"
    assert there == {"/a": False, "/b": False, "/c": True}
    network = plancton.engine.call("GET", f"/networks/{plancton.name}")
    assert network["Options"]["com.docker.network.bridge.enable_icc"] == "false"
    assert list(made["NetworkSettings"]["Networks"]) == [plancton.name]
    # And what the kernel knows of it:
    pid = made["State"]["Pid"]
    fields = dict(
        line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":" in line
    )
    assert int(fields["CapEff"], 16) == int(fields["CapBnd"], 16) == 0
    assert fields["NoNewPrivs"].strip() == "1"
    assert fields["Uid"].split() == ["65534"] * 4
    assert Path(f"/proc/{pid}/oom_score_adj").read_text().strip() == "1000"
    assert plancton.group(container).startswith(f"{plancton.slice.path}/")
    assert plancton.quota(plancton.group(container)).split()[0] == "100000"


def test_yields(plancton: Plancton, engine: Engine) -> None:
    """When an owner takes every CPU all workers end cleanly; when they rest, workers are back."""
    plancton.configure(yielding={"grace_kill": "5s"})
    plancton.start()
    workers = plancton.full(CPUS)
    for container in workers:
        plancton.wait_for_trap(container)
    since = time.time()
    plancton.host.owner = CPUS
    plancton.empty()
    ended = exits(engine, since)
    assert {container: ended[container] for container in workers} == {c: (["15"], "0") for c in workers}
    plancton.host.owner = 0
    plancton.full(CPUS)


def test_the_way_out(plancton: Plancton, engine: Engine) -> None:
    """While the owner uses nearly every CPU the younger worker leaves: it gets a bounded part of a
    CPU, and the older one is frozen meanwhile; then all is as it was."""
    plancton.hold()
    plancton.start()
    workers = sorted(plancton.full(2), key=lambda each: engine.inspect(each)["State"]["StartedAt"])
    groups = [plancton.group(container) for container in workers]
    before, since = plancton.quota(groups[0]), time.time()
    plancton.host.owner = CPUS - 0.2
    way_out = wait_for("the slice is lifted", lambda: plancton.way_out(groups[1]), every=0.01)
    assert way_out == LIFT_QUOTA / PERIOD
    assert plancton.frozen() == [Path(groups[0]).name]
    plancton.let_go()
    wait_for("it is gone", lambda: plancton.lines("is gone", "exit code 0"))
    wait_for("the slice yields again", lambda: plancton.yields)
    assert plancton.full(1) == {workers[0]}
    assert exits(engine, since) == {workers[1]: (["15"], "0")}
    assert not plancton.frozen()
    assert plancton.quota(groups[0]) == before


def test_who_does_not_leave_is_killed(plancton: Plancton, engine: Engine) -> None:
    """A worker that ignores the signal is killed, once leave_timeout is over."""
    plancton.configure(worker={"command": STUBBORN, "leave_timeout": "3s"}, pool={"max_workers": 1})
    plancton.start()
    (container,) = plancton.full(1)
    plancton.wait_for_trap(container)
    since = time.time()
    plancton.configure(pool={"max_workers": 0})
    plancton.empty()
    assert exits(engine, since) == {container: (["15", "9"], "137")}
    assert plancton.lines("killing", "did not leave in time")


def test_memory_is_given_back_at_once(plancton: Plancton, engine: Engine) -> None:
    """When the owner's memory runs short one worker leaves without waiting for grace_kill."""
    plancton.configure(yielding={"grace_kill": "1h"}, owner={"reserve_memory": "2GB"})
    plancton.start()
    for container in plancton.full(CPUS):
        plancton.wait_for_trap(container)
    since = time.time()
    plancton.host.memory_available = 1_900_000_000
    wait_for("a worker leaves", lambda: (["15"], "0") in exits(engine, since).values())
    text = "the owner needs the memory"
    wait_for("the log says so", lambda: plancton.lines("asking", "to leave", text))


@pytest.mark.parametrize("removed", [False, True], ids=["changed", "removed"])
def test_the_slice_is_put_back(plancton: Plancton, removed: bool) -> None:
    """A slice that somebody changes, or removes while it is empty, is restored within seconds."""
    if removed:
        plancton.configure(pool={"max_workers": 0})
    plancton.start()
    if removed:
        wait_for("the slice is made", lambda: plancton.yields)
        plancton.slice.remove()
    else:
        plancton.full(CPUS)
        (plancton.slice.cpu / "cpu.idle").write_text("0")
    assert not plancton.yields
    wait_for("the slice yields again", lambda: plancton.yields)
    wait_for("the log says so", lambda: plancton.lines("the slice had", "put back"))
    if removed:  # its figures are read from the new directory
        plancton.configure(pool={"max_workers": CPUS}, worker={"command": BUSY})
        plancton.full(CPUS)
        wait_for("the CPU it uses is seen", lambda: (s := plancton.status) is not None and s.donated)
