"""The slice on a host with systemd and pure cgroup v2: it is idle class whatever systemd does.

How much CPU an owner keeps that way is measured, not asserted: `bench_yield.py`. The tests share
one supervisor and come in the order in which they need its worker.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from docker.harness import Engine, Plancton, wait_for
from host.harness import HELD, PATIENCE, RUNTIME_PROPERTIES, counts, hung, in_slice, output, shell, used

from plancton.host.topology import SYS, format_cpus, parse_cpus, read_cores
from plancton.model import Phase

pytestmark = pytest.mark.docker

CPUS = SYS / "devices/system/cpu"
LOGIND = "org.freedesktop.login1 /org/freedesktop/login1 org.freedesktop.login1.Manager"
DISTURBANCES = {
    "daemon-reload": "systemctl daemon-reload",
    "set-property": "systemctl set-property --runtime $SLICE IOAccounting=yes",
    "set-property-elsewhere": "systemctl set-property --runtime system.slice TasksMax=infinity",
    "another-unit": "systemd-run --quiet --wait --slice=$SLICE true",
    "another-scope": "systemd-run --quiet --scope --slice=$SLICE true",
}
"""What somebody may do without meaning to change the slice's class."""
CHANGES = {
    "cpu.idle": "echo 0 >$DIRECTORY/cpu.idle",
    "CPUWeight": "systemctl set-property --runtime $SLICE CPUWeight=100",
}
"""What takes it away."""

TAKE_MEMORY = """
def killed():
    return [line for line in open("/proc/vmstat") if line.startswith("oom_kill ")]

before, held = killed(), []
while killed() == before:
    held.append(b"x" * (16 << 20))
    print(end=".", flush=True)
"""
"""Holds 16 MiB more for each dot, until the kernel has ended some process. What /proc/meminfo calls
available is no measure of how much that takes: it was off by 240 MiB on a host with 2 GiB."""


def wait_until_put_back(plancton: Plancton, position: int) -> None:
    """Wait until the slice is idle class again and the log says so."""
    wait_for("the slice is idle class", lambda: plancton.yields, PATIENCE)
    said = ("the slice", "put back")
    wait_for("the log says so", lambda: plancton.lines(*said, start=position), PATIENCE)


def test_is_idle_class_from_the_start(plancton: Plancton, workers: set[str]) -> None:
    """The slice with all workers in it is idle class according to the kernel, systemd and
    status."""
    assert plancton.yields
    assert output("systemctl show --property=CPUWeight $SLICE", plancton) == "CPUWeight=idle\n"
    status = plancton.status
    assert status and status.tier == "kernel", status
    for container in workers:
        assert plancton.group(container).startswith(f"{plancton.slice.unit}/")


@pytest.mark.parametrize("disturbance", DISTURBANCES)
def test_stays_idle_class(plancton: Plancton, workers: set[str], disturbance: str) -> None:
    """Nothing that systemd does for others changes the slice's class, not even for a moment."""
    with hung(plancton):
        shell(DISTURBANCES[disturbance], plancton)
        assert plancton.yields
        time.sleep(0.5)  # systemd writes some cgroups' files when it has nothing else to do
        assert plancton.yields


@pytest.mark.parametrize("change", CHANGES)
def test_is_put_back(plancton: Plancton, workers: set[str], change: str) -> None:
    """Plancton notices that the slice was changed, and makes it idle class again."""
    position = len(plancton.log)
    with hung(plancton):  # else it may be back before we look
        shell(CHANGES[change], plancton)
        assert not plancton.yields, f"{change} did not change the slice"
    wait_until_put_back(plancton, position)


def test_bounds(plancton: Plancton, workers: set[str]) -> None:
    """The kernel bounds the workers' memory and swap, as systemd knows; a removed bound is
    restored."""
    directory = plancton.slice.directory
    wait_for("the memory is bounded", lambda: plancton.slice.ceiling() is not None, PATIENCE)
    ceiling = plancton.slice.ceiling()
    ram = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert ceiling is not None and 0.5 * ram < ceiling < ram, f"{ceiling} of {ram}"
    assert (directory / "memory.swap.max").read_text() == "0\n"
    assert output("systemctl show --property=MemoryMax $SLICE", plancton) == f"MemoryMax={ceiling}\n"
    with hung(plancton):
        shell("systemctl set-property --runtime $SLICE MemoryMax=infinity", plancton)
        assert plancton.slice.ceiling() is None, "systemd did not take the ceiling away"
    wait_for("the ceiling is back", lambda: plancton.slice.ceiling() == ceiling, PATIENCE)


def capacity(plancton: Plancton) -> float:
    return status.capacity if (status := plancton.status) else 0.0


def test_whole_cores(plancton: Plancton, workers: set[str]) -> None:
    """Workers keep off the cores that the owner reserves, also while the supervisor hangs and
    whatever systemd does, until nothing is reserved any more."""
    core, *others = read_cores(CPUS, parse_cpus((CPUS / "online").read_text()))
    left = format_cpus(cpu for other in others for cpu in other)
    cpuset, quota = (plancton.slice.directory / name for name in ("cpuset.cpus.effective", "cpu.max"))
    everything = cpuset.read_text()

    def have() -> tuple[str, str, float]:
        return cpuset.read_text(), quota.read_text(), capacity(plancton)

    before = have()
    plancton.configure(owner={"reserve_cpus": len(core)})
    wait_for("the workers keep off", lambda: cpuset.read_text() == f"{left}\n", PATIENCE)
    told = "systemctl show --property AllowedCPUs --value $SLICE"  # beside the loop, a moment later
    wait_for("systemd knows it", lambda: output(told, plancton).strip() == left, PATIENCE)
    with hung(plancton):
        shell("systemctl daemon-reload; systemctl set-property --runtime $SLICE IOAccounting=yes", plancton)
        assert cpuset.read_text() == f"{left}\n"
        shell(f"echo {everything.strip()} >$DIRECTORY/cpuset.cpus", plancton)
        assert cpuset.read_text() == everything
    wait_for("they keep off again", lambda: cpuset.read_text() == f"{left}\n", PATIENCE)
    plancton.configure(owner={"reserve_cpus": 0})
    wait_for("they have all CPUs again", lambda: have() == before, PATIENCE)


def test_limits_of_the_administrator(plancton: Plancton, workers: set[str]) -> None:
    """AllowedCPUs=, MemoryMax= and CPUQuota= in a drop-in of the administrator's hold where they are
    stricter than our bounds, and no longer than it is there; only the CPUs that it allows count."""
    names = "memory.max", "cpu.max", "cpuset.cpus.effective"
    files = [plancton.slice.directory / name for name in names]
    drop_ins = Path(f"/etc/systemd/system/{plancton.slice.unit}.d")

    def have() -> list[str]:
        return [file.read_text() for file in files]

    # Of what an earlier test has changed systemd is told late, and writes all it knows once more then.
    before = [files[0].read_text(), "max 100000\n", (CPUS / "online").read_text()]
    all_count, last = capacity(plancton), max(parse_cpus(before[2]))
    drop_ins.mkdir()
    try:
        limits = f"AllowedCPUs={last}\nMemoryMax=200M\nCPUQuota=150%\n"
        (drop_ins / "mine.conf").write_text(f"[Slice]\n{limits}")
        shell("systemctl daemon-reload", plancton)
        wait_for("it is said", lambda: plancton.lines("own limits", "1.5 CPUs"), PATIENCE)
        wait_for("one CPU counts", lambda: capacity(plancton) == 1.0, PATIENCE)
        held = [f"{200 << 20}\n", "150000 100000\n", f"{last}\n"]
        wait_for("they hold", lambda: have() == held, PATIENCE)
        shell("systemctl daemon-reload", plancton)
        plancton.goes_on()
        assert have() == held
    finally:
        shutil.rmtree(drop_ins)
        shell("systemctl daemon-reload", plancton)
    wait_for("our bounds hold again", lambda: have() == before, PATIENCE)
    wait_for("all CPUs count", lambda: capacity(plancton) == all_count, PATIENCE)


@pytest.fixture
def logind(plancton: Plancton) -> Iterator[None]:
    """It is masked on this host, which boots sooner without."""
    # It may have been started several times within seconds, by other tests.
    start = "systemctl unmask $L; systemctl reset-failed $L || :; systemctl start $L"
    shell(start.replace("$L", "systemd-logind"), plancton)
    yield
    shell("systemctl stop systemd-logind && systemctl mask systemd-logind", plancton)


def logind_says(plancton: Plancton, name: str) -> str:
    return output(f"busctl get-property {LOGIND} {name}", plancton).strip()


def test_nothing_keeps_it_awake(plancton: Plancton, workers: set[str], logind: None) -> None:
    """A host that would sleep does so: while a worker computes nobody inhibits sleep, and logind
    takes the host for idle."""
    before = used(plancton.slice.directory)
    wait_for("the worker computes", lambda: used(plancton.slice.directory) > before + 0.5, PATIENCE)
    for name in ("BlockInhibited", "DelayInhibited"):
        assert "sleep" not in logind_says(plancton, name) and "idle" not in logind_says(plancton, name)
    assert logind_says(plancton, "IdleHint") == "b true"
    assert "plancton" not in output("systemd-inhibit --list --no-pager --no-legend", plancton)


def test_thrashing_at_its_own_limit(plancton: Plancton, workers: set[str], engine: Engine) -> None:
    """A worker that reads again and again what its memory can't hold makes nobody leave: it is no
    sign of the owner's need, though the whole host's memory pressure rises."""
    position = len(plancton.log)
    thrasher = min(workers)
    engine.call("POST", f"/containers/{thrasher}/kill?signal=USR2")

    def lost() -> int:
        return counts(plancton.slice.directory / "memory.stat")["workingset_refault_file"]

    wait_for("it reads what it had to drop", lambda: lost() > 10_000, PATIENCE)
    before, seen = lost(), set[float]()

    def looked_on() -> bool:
        """Whether the supervisor has seen this for several ticks."""
        if status := plancton.status:
            seen.add(status.time)
        return len(seen) >= 3

    wait_for("the supervisor has looked at it", looked_on, PATIENCE)
    thrashed = lost() - before
    engine.call("POST", f"/containers/{thrasher}/kill?signal=HUP")
    assert thrashed > 0, "it did not thrash"
    assert in_slice(plancton, workers) == workers == plancton.ids()
    assert not plancton.lines("retiring", start=position) and not plancton.lines("ended", start=position)
    assert counts(plancton.slice.directory / "memory.events")["oom_kill"] == 0


def test_the_kernel_takes_a_worker(plancton: Plancton, workers: set[str], engine: Engine) -> None:
    """When an owner takes more and more memory, while the supervisor hangs, a worker dies when
    there is no more, and none of the owner's processes."""
    events, all_killed = plancton.slice.directory / "memory.events", Path("/proc/vmstat")
    for container in workers:
        engine.call("POST", f"/containers/{container}/kill?signal=USR1")
    held = HELD * len(workers) << 20
    memory = plancton.slice.directory / "memory.stat"
    wait_for("they hold memory", lambda: counts(memory)["anon"] > 0.95 * held, PATIENCE)
    with hung(plancton):
        before = counts(all_killed)["oom_kill"]
        owner = [sys.executable, "-c", TAKE_MEMORY]
        done = subprocess.run(
            ["systemd-run", "--quiet", "--scope", "--slice=user.slice", *owner],
            stdout=subprocess.PIPE,
            timeout=300,
            check=False,
        )
        killed = counts(all_killed)["oom_kill"] - before
    print(f"the owner took {len(done.stdout) * 16} MiB; the kernel ended {killed} processes")
    assert done.returncode == 0, "the owner's process did not live"
    assert killed == counts(events)["oom_kill"] >= 1
    wait_for("a worker is gone", lambda: not workers <= plancton.ids(), PATIENCE)


def test_is_made_again(plancton: Plancton) -> None:
    """Plancton notices that the slice is gone, and recreates it, though it has no worker to start
    in it."""
    (plancton.paths.run / "drain").touch()

    def starts_nothing() -> bool:
        status = plancton.status
        return (
            status is not None
            and "draining" in status.decision
            and all(w.phase is Phase.RUNNING for w in status.workers)
        )

    wait_for("no worker is being started: Docker would make the slice", starts_nothing, PATIENCE)
    position = len(plancton.log)
    with hung(plancton):
        shell("systemctl stop $SLICE", plancton)
        assert not plancton.yields
    wait_until_put_back(plancton, position)


def test_comes_back_as_it_was(plancton: Plancton) -> None:
    """A stopped slice is idle class at once when somebody else, such as Docker, starts it again."""
    with hung(plancton):
        shell("systemctl stop $SLICE; systemctl start $SLICE", plancton)
        assert plancton.yields
    (plancton.paths.run / "drain").unlink()


def test_donates_again(plancton: Plancton) -> None:
    """A worker starts in the new slice, and its CPU time is counted."""
    (worker, *_) = wait_for("a worker runs", lambda: in_slice(plancton, plancton.ids()), PATIENCE)
    assert plancton.group(worker).startswith(f"{plancton.slice.unit}/")
    assert plancton.yields

    def is_seen() -> bool:
        status = plancton.status
        return status is not None and (status.donated or 0) > 0

    wait_for("the CPU that it uses is seen", is_seen, PATIENCE)


def test_leaves_nothing(plancton: Plancton) -> None:
    """After the supervisor has ended, neither the kernel nor systemd knows the slice, and what the
    administrator has set on it is there."""
    persistent = Path(f"/etc/systemd/system/{plancton.slice.unit}.d")
    persistent.mkdir()
    (persistent / "override.conf").write_text("[Slice]\nStartupCPUWeight=50\n")
    try:
        shell("systemctl set-property --runtime $SLICE IOAccounting=yes", plancton)
        plancton.send(signal.SIGTERM)
        assert plancton.ended() == 0
        assert not plancton.directories()
        runtime = [path.name for path in RUNTIME_PROPERTIES.glob(f"{plancton.slice.unit}*/*")]
        assert runtime == ["50-IOAccounting.conf"]
        assert (persistent / "override.conf").exists()
    finally:
        shutil.rmtree(persistent)
        shutil.rmtree(RUNTIME_PROPERTIES / f"{plancton.slice.unit}.d", ignore_errors=True)
        shell("systemctl daemon-reload", plancton)
