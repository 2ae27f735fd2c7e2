"""The workers' own figures, on fake cgroups: CPU, memory, and for a pool's workers their jobs."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers.open_files import open_files
from unit.trees import cgroup, cpu_stat, pid_stat, tree

from plancton.host.cgroup_mounts import Layout
from plancton.host.sampler import USER_HZ
from plancton.host.slice import Slice
from plancton.model import Fleet, Phase, Worker
from plancton.workers.roster import Entry
from plancton.workers.usage import WorkerUsage, between_readings

BOOT = 100_000.0


class Host:
    """A slice with workers in it, read every ten seconds."""

    def __init__(self, root: Path) -> None:
        self.proc, self.v2 = tree(root / "proc"), tree(root / "v2", plancton={})
        self.usage = WorkerUsage(Slice(Layout(self.v2), "plancton", "cgroupfs"), self.proc)
        self.entries: dict[str, Entry] = {}
        self.now = 0.0
        self.fleet = Fleet()

    def worker(self, name: str, jobs: tuple[float, ...] | None) -> None:
        tree(self.v2 / "plancton" / name, cgroup(usage=0), {"cgroup.procs": ""})
        self.entries[name] = Entry(Worker(name, jobs=jobs), group=f"plancton/{name}")
        self.fleet = Fleet()

    def starters(self, name: str, *pids: int) -> None:
        """These processes run jobs; the job of process N began N seconds after the start."""
        for pid in pids:
            started = round((BOOT + pid) * USER_HZ)
            for each, comm, parent in ((pid, "condor_starter", 1), (1000 + pid, "job", pid)):
                stat = pid_stat(each, comm, started=started, ppid=parent)
                tree(self.proc / str(each), {"stat": stat, "comm": f"{comm}\n"})
        text = "1\n" + "".join(f"{pid}\n{1000 + pid}\n" for pid in pids)
        (self.v2 / "plancton" / name / "cgroup.procs").write_text(text)

    def used(self, name: str, seconds: float) -> None:
        """The CPU that it has used so far."""
        (self.v2 / "plancton" / name / "cpu.stat").write_text(cpu_stat(round(seconds * 1e6)))

    def read(self, name: str) -> tuple[tuple[float, ...] | None, float]:
        self.now += 10.0
        self.usage.read(self.now, BOOT + self.now, self.fleet, self.entries.values())
        reading = self.usage.by_name[name]
        return reading.jobs, reading.job_cpu


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    made = Host(tmp_path)
    yield made
    made.usage.close()


def test_jobs_of_a_pool_only(host: Host) -> None:
    """A plain worker's jobs are unknown, whatever its processes are called."""
    host.worker("plain", None)
    host.worker("pilot", ())
    for name, pid in (("plain", 5), ("pilot", 6)):
        host.starters(name, pid)
    assert host.read("pilot") == ((BOOT + 6,), 0.0)
    assert host.usage.by_name["plain"].jobs is None


def test_cpu_of_the_job(host: Host) -> None:
    """What would be lost is what was used since the oldest running job began, as far as that can be
    known."""
    host.worker("w1", ())
    host.used("w1", 100.0)
    assert host.read("w1") == ((), 0.0)
    host.starters("w1", 11)
    host.used("w1", 103.0)
    assert host.read("w1") == ((BOOT + 11,), 3.0)
    host.used("w1", 113.0)
    assert host.read("w1") == ((BOOT + 11,), 13.0)
    host.starters("w1", 11, 35)
    host.used("w1", 120.0)
    assert host.read("w1") == ((BOOT + 11, BOOT + 35), 20.0)
    host.starters("w1", 35)
    host.used("w1", 130.0)
    assert host.read("w1") == ((BOOT + 35,), 15.0), "five seconds old when it was first seen"
    host.starters("w1")
    assert host.read("w1") == ((), 0.0)


def test_an_old_job(host: Host) -> None:
    """A job that was there before us has used what its worker can have used in the job's time."""
    host.worker("w1", ())
    host.starters("w1", 4)
    host.used("w1", 100.0)
    assert host.read("w1") == ((BOOT + 4,), 6.0)
    host.worker("w2", ())
    host.starters("w2", 5)
    host.used("w2", 2.0)
    assert host.read("w2") == ((BOOT + 5,), 2.0)


def test_counters_that_go_back(host: Host) -> None:
    """Whatever the counters do, a job's use is not negative; unknown counts as zero."""
    host.worker("w1", ())
    host.starters("w1", 1)
    host.used("w1", 100.0)
    host.read("w1")
    host.used("w1", 50.0)
    assert host.read("w1") == ((BOOT + 1,), 0.0)
    (host.v2 / "plancton/w1/cpu.stat").write_text("")
    assert host.read("w1") == ((BOOT + 1,), 0.0)


def test_worker_without_a_cgroup(host: Host) -> None:
    """A worker that is gone before it was read has no figures, and causes no error."""
    host.worker("w1", ())
    host.entries["gone"] = Entry(Worker("gone", jobs=()), group="plancton/gone")
    assert host.read("w1") == ((), 0.0)
    assert host.usage.by_name["gone"].jobs is None


def test_no_files_leak(host: Host) -> None:
    """Reading and closing leave no file open, even with 256 workers."""
    before = open_files()
    for n in range(256):
        host.worker(f"w{n}", ())
        host.starters(f"w{n}", 5)
    for _ in range(4):
        host.read("w0")
        host.fleet = Fleet()
    assert all(r.jobs for r in host.usage.by_name.values()), "some have no job"
    host.usage.close()
    assert open_files() == before


def between(
    count: int, one_may_leave: bool = False, jobs: tuple[float, ...] = (), donated: float | None = 0.01
) -> float:
    workers = [Worker(f"w{n}", f"i{n}", Phase.RUNNING, jobs=() if n else jobs) for n in range(count)]
    return between_readings(Fleet.of(workers), donated, one_may_leave)


@pytest.mark.parametrize("what", [{"jobs": (9_000.0,)}, {"donated": 0.2}, {"donated": None}])
def test_workers_at_rest_are_read_less_often(what: dict[str, Any]) -> None:
    """Workers that do nothing and have no job are read once a minute, others as often as before."""
    assert between(32) == 60.0
    assert between(32, **what) == 16.0


def test_few_workers_are_read_at_each_tick() -> None:
    assert between(2) < 5.0 and between(0) == 0.0


def test_many_workers_at_rest() -> None:
    """They are never read more often because they rest."""
    assert between(1_000) == between(1_000, donated=3.0)


def test_workers_one_of_which_may_have_to_leave() -> None:
    """They are read often, at rest or not."""
    assert between(32, one_may_leave=True) == between(32, one_may_leave=True, donated=3.0) < 2.0
