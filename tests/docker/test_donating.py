"""The promise, on a real dockerd and in the kernel's files: idle CPU is used, and owners get it back."""

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from docker.harness import BUSY, CPUS, STUBBORN, Engine, Load, Plancton, idle_cpus, leaver, wait_for

from plancton.workers.container import INSTANCE

pytestmark = pytest.mark.docker

GRACE_KILL, GRACE_SPAWN = 10.0, 2.0


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
    """Workers start by themselves and use at least nine tenths of what nobody else uses."""
    plancton.start()
    plancton.full(CPUS)
    used, idle, start = plancton.used(), idle_cpus(), time.monotonic()
    time.sleep(4)  # what is measured is a time
    used, idle = plancton.used() - used, idle_cpus() - idle
    share = used / (used + idle)
    print(f"harvest: {share:.1%} of what the owner left, over {time.monotonic() - start:.1f} s")
    assert share >= 0.9
    assert plancton.yields
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
    assert host["SecurityOpt"] == ["no-new-privileges"]
    assert host["PidsLimit"] > 0
    assert host["OomScoreAdj"] == 1000
    assert host["RestartPolicy"]["Name"] == "no"
    assert host["LogConfig"]["Config"] == {"max-size": "10m", "max-file": "1", "compress": "false"}
    assert host["Memory"] == host["MemorySwap"] == 64 * 1024**2
    assert {m["Destination"]: m["RW"] for m in made["Mounts"]} == {"/a": False, "/b": False, "/c": True}
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


def test_yields(plancton: Plancton, owner: Load, engine: Engine) -> None:
    """An owner gets every CPU at once, all workers end cleanly, and they return when the owner rests."""
    plancton.configure(
        yielding={"grace_kill": f"{GRACE_KILL:g}s", "grace_spawn": f"{GRACE_SPAWN:g}s"},
    )
    owner.start()
    alone = owner.share(3)
    owner.stop()
    plancton.start()
    workers = plancton.full(CPUS)
    since, start = time.time(), time.monotonic()
    owner.start()
    beside = owner.share(4)
    plancton.empty(25 - (time.monotonic() - start))
    gone = time.monotonic() - start
    after = owner.share(2)
    print(
        f"owner: {alone:.2f} CPUs alone, {beside:.2f} beside {CPUS} workers, {after:.2f} after;"
        f" all gone after {gone:.1f} s"
    )
    assert beside >= 0.95 * min(alone, after)  # the lesser: others may use this machine, too
    ended = exits(engine, since)
    assert {container: ended[container] for container in workers} == {c: (["15"], "0") for c in workers}
    owner.stop()
    plancton.full(CPUS, GRACE_SPAWN + 15)


def test_the_way_out(plancton: Plancton, owner: Load, engine: Engine) -> None:
    """While the owner uses every CPU, a worker that must leave is gone within seconds, and the owner
    hardly notices. The limit of workers makes the youngest leave; an older one stays, and is frozen
    meanwhile."""
    plancton.configure(worker={"command": leaver()}, yielding={"grace_kill": "12s"})
    plancton.start()
    plancton.full(CPUS)
    groups = {container: plancton.group(container) for container in plancton.ids()}
    quotas = {container: plancton.quota(group) for container, group in groups.items()}
    since, position = time.time(), len(plancton.log)
    plancton.configure(pool={"max_workers": CPUS - 1})
    time.sleep(4)  # the limit is known for longer than the load: only the youngest leaves
    owner.start()

    def told() -> list[str]:
        return plancton.lines("asking", "to leave", start=position)

    wait_for("one is told to leave", told, 20, every=0.01)
    start, used, had = time.monotonic(), plancton.used(), owner.seconds()
    lifted = frozen = False

    def is_gone() -> bool:
        nonlocal lifted, frozen
        lifted, frozen = lifted or not plancton.yields, frozen or bool(plancton.frozen())
        return bool(plancton.lines("is gone", start=position))

    wait_for("it is gone", is_gone, 10, every=0.01)
    took = time.monotonic() - start
    wait_for("the slice yields again", lambda: plancton.yields, 1, every=0.01)
    used, had = plancton.used() - used, owner.seconds() - had
    owner.stop()
    print(f"with the lift: gone in {took:.2f} s, the slice took {used:.2f} s of CPU, the owner {had:.2f} s")
    assert len(told()) == 1
    assert took < 3
    assert lifted, "the slice was not lifted"
    assert frozen, "the older workers were not frozen"
    assert used <= 0.2 * min(took, 5) + 0.2
    assert not plancton.frozen()
    left = plancton.full(CPUS - 1)
    (gone,) = [container for container in groups if container not in left]
    assert exits(engine, since)[gone] == (["15"], "0")
    for container, group in groups.items():
        if container != gone:
            assert plancton.quota(group) == quotas[container]


def handles_term(group: Path) -> bool:
    """Whether a shell in this cgroup catches or ignores SIGTERM by now (proc(5), SigCgt and SigIgn)."""
    for pid in (group / "cgroup.procs").read_text().split():
        status = Path(f"/proc/{pid}/status").read_text()
        fields = dict(line.split(":", 1) for line in status.splitlines())
        handled = int(fields["SigCgt"], 16) | int(fields["SigIgn"], 16)
        if fields["Name"].strip() in ("sh", "busybox") and handled & 1 << signal.SIGTERM - 1:
            return True
    return False


@contextmanager
def two_workers(plancton: Plancton, engine: Engine, command: str) -> Iterator[tuple[str, str]]:
    """Two containers in a slice of their own, without a supervisor."""
    plancton.slice.set_up()
    host = {"CgroupParent": plancton.slice.parent, "CpuQuota": 100_000, "CpuPeriod": 100_000}
    older = engine.run(f"{plancton.name}-older", BUSY, HostConfig=host)
    younger = engine.run(f"{plancton.name}-younger", command, HostConfig=host)
    yield older, younger


@pytest.mark.parametrize("lift", [False, True], ids=["without", "with"])
def test_leaving_needs_the_lift(plancton: Plancton, owner: Load, engine: Engine, lift: bool) -> None:
    """Under the same owner the same leaver takes several times longer without the lift."""
    with two_workers(plancton, engine, leaver()) as (older, younger):
        assert plancton.yields
        groups = plancton.group(older), plancton.group(younger)
        wait_for("its trap is set", lambda: handles_term(plancton.slice.tree / groups[1]), 10)
        owner.start()
        time.sleep(2)  # the owner's processes have the CPUs to themselves by then
        start = time.monotonic()
        if lift:
            plancton.slice.lift([groups[1]], [groups[0]])
        engine.call("POST", f"/containers/{younger}/kill?signal=SIGTERM")

        def over() -> bool:
            running = engine.inspect(younger)["State"]["Running"]
            return not running or time.monotonic() - start > 10

        wait_for("it is gone", over, 12)
        took = time.monotonic() - start
        plancton.slice.drop()
        owner.stop()
        print(f"{'with' if lift else 'without'} the lift: {took:.1f} s{'' if lift else ' at least'}")
        assert took < 3 if lift else took > 6
        assert plancton.yields
        assert not plancton.frozen()


def test_who_does_not_leave_is_killed(plancton: Plancton, engine: Engine) -> None:
    """A worker that ignores the signal is killed after leave_timeout, not before."""
    plancton.configure(worker={"command": STUBBORN, "leave_timeout": "3s"}, pool={"max_workers": 1})
    plancton.start()
    (container,) = plancton.full(1)
    group = plancton.slice.tree / plancton.group(container)
    wait_for("its trap is set", lambda: handles_term(group), 10)
    since = time.time()
    plancton.configure(pool={"max_workers": 0})
    plancton.empty(25)
    events = [e for e in engine.events(since) if e["Actor"]["ID"] == container]
    kills = [
        (e["Actor"]["Attributes"]["signal"], e["timeNano"] / 1e9) for e in events if e["Action"] == "kill"
    ]
    assert [number for number, _ in kills] == ["15", "9"]
    assert 2.5 <= kills[1][1] - kills[0][1] <= 6
    assert plancton.lines("killing", "did not leave in time")


def test_memory_is_given_back_at_once(plancton: Plancton, engine: Engine) -> None:
    """When the owner's memory runs short, one worker leaves without waiting for grace_kill."""
    plancton.configure(yielding={"grace_kill": "1h"})
    plancton.start()
    plancton.full(CPUS)
    since = time.time()
    fields = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
    available = int(fields["MemAvailable"].split()[0]) * 1024
    plancton.configure(owner={"reserve_memory": available + 300_000_000})
    wait_for(
        "a worker leaves",
        lambda: any(c == (["15"], "0") for c in exits(engine, since).values()),
        5,
    )
    assert plancton.lines("asking", "to leave", "the owner needs the memory")


@pytest.mark.parametrize("removed", [False, True], ids=["changed", "removed"])
def test_the_slice_is_put_back(plancton: Plancton, removed: bool) -> None:
    """A slice that somebody changes, or removes while it is empty, is restored within seconds."""
    if removed:
        plancton.configure(pool={"max_workers": 0})
    plancton.start()
    if removed:
        wait_for("the slice is made", lambda: plancton.yields, 10)
        plancton.slice.remove()
    else:
        plancton.full(CPUS)
        (plancton.slice.cpu / "cpu.idle").write_text("0")
    assert not plancton.yields
    wait_for("the slice yields again", lambda: plancton.yields, 10)
    wait_for("the log says so", lambda: plancton.lines("the slice had", "put back"), 2)
    if removed:  # its figures are read from the new directory
        plancton.configure(pool={"max_workers": CPUS})
        plancton.full(CPUS)
        wait_for(
            "the CPU it uses is seen",
            lambda: (s := plancton.status) is not None and (s.donated or 0) > 0.5 * CPUS,
            15,
        )
