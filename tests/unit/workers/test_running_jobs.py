"""Which workers run a job, on a fake /proc and fake cgroups whose processes a test controls."""

import resource
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers.open_files import open_files
from unit.trees import pid_stat, tree, vanish

from plancton.host.sampler import USER_HZ
from plancton.workers.running_jobs import MOST, SETTLED, JobWatch

BOOT = 100_000.0
"""CLOCK_BOOTTIME of the first look."""


class Watched:
    """Workers' cgroups, and the processes in them."""

    def __init__(self, root: Path) -> None:
        self.proc, self.groups = tree(root / "proc"), tree(root / "groups")
        self.watch = JobWatch(self.proc, "condor_starter")
        self.pids: dict[str, list[int]] = {}

    def worker(self, *names: str) -> None:
        """Add these workers."""
        for name in names:
            tree(self.groups / name, {"cgroup.procs": ""})
            self.pids[name] = []
        self.watch.watch({name: self.groups / name for name in self.pids})

    def process(self, worker: str, pid: int, name: str, started: float = BOOT - 60, parent: int = 1) -> None:
        self.become(pid, name, started, parent)
        self.pids[worker].append(pid)
        self._write(worker)

    def become(self, pid: int, name: str, started: float = BOOT - 60, parent: int = 1) -> None:
        """Change a process, as execve does. Its command line can't be read: that would wait."""
        stat = pid_stat(pid, name[:15], started=round(started * USER_HZ), ppid=parent)
        tree(self.proc / str(pid), {"stat": stat, "comm": f"{name[:15]}\n", "cmdline": {}})

    def job(self, worker: str, pid: int, started: float = BOOT - 60) -> None:
        """A starter, and its job as the process with the next number."""
        self.process(worker, pid, "condor_starter", started)
        self.process(worker, pid + 1, "job", started, parent=pid)

    def end(self, worker: str, *pids: int) -> None:
        for pid in pids:
            shutil.rmtree(self.proc / str(pid))
            self.pids[worker].remove(pid)
        self._write(worker)

    def _write(self, worker: str) -> None:
        text = "".join(f"{pid}\n" for pid in self.pids[worker])
        (self.groups / worker / "cgroup.procs").write_text(text)

    def jobs(self, worker: str = "w1", at: float = BOOT) -> tuple[float, ...]:
        return self.watch.read(at)[worker]


@pytest.fixture
def it(tmp_path: Path) -> Iterator[Watched]:
    made = Watched(tmp_path)
    yield made
    made.watch.close()


def idle(it: Watched, *workers: str) -> None:
    """Workers without a job."""
    it.worker(*workers)
    for number, name in enumerate(workers, 1):
        for place, command in enumerate(("tini", "sh", "condor_master", "condor_startd")):
            it.process(name, number * 1000 + place, command)


def test_a_job_comes_and_goes(it: Watched) -> None:
    """A starter counts as a job from the start of its child on, and until its own end: it still has
    output to send."""
    idle(it, "w1")
    assert it.jobs() == ()
    it.process("w1", 20, "condor_starter", started=BOOT + 7)
    assert it.jobs(at=BOOT + 50) == ()
    it.process("w1", 21, "job", started=BOOT + 55, parent=20)
    assert it.jobs(at=BOOT + 60) == (BOOT + 7,)
    it.end("w1", 21)
    assert it.jobs(at=BOOT + 65) == (BOOT + 7,)
    it.end("w1", 20)
    assert it.jobs(at=BOOT + 70) == ()


def test_several_jobs(it: Watched) -> None:
    """A worker of several slots has several jobs, oldest first; each worker has its own."""
    idle(it, "w1", "w2")
    it.job("w1", 20, started=BOOT - 10)
    it.job("w1", 30, started=BOOT - 30)
    it.job("w2", 40, started=BOOT - 20)
    assert it.watch.read(BOOT) == {"w1": (BOOT - 30, BOOT - 10), "w2": (BOOT - 20,)}
    it.end("w1", 30, 31)
    assert it.jobs() == (BOOT - 10,)


@pytest.mark.parametrize("name", ["condor_starterx", "my_condor_start", "sh", ""])
def test_lookalikes(it: Watched, name: str) -> None:
    """A process with another name keeps no job."""
    idle(it, "w1")
    it.process("w1", 20, name)
    it.process("w1", 21, "job", parent=20)
    assert it.jobs() == ()


def test_a_starter_that_is_asked_for_its_properties(it: Watched) -> None:
    """One without a child is no job, however long it takes."""
    idle(it, "w1")
    it.process("w1", 20, "condor_starter")
    assert it.jobs() == () and it.jobs(at=BOOT + 60) == ()


def test_a_young_process_is_looked_at_again(it: Watched) -> None:
    """Between fork and execve a starter is still a startd, so it is checked again in its first
    second."""
    idle(it, "w1")
    it.process("w1", 20, "condor_startd", started=BOOT)
    it.process("w1", 21, "job", parent=20, started=BOOT)
    assert it.jobs(at=BOOT + 0.1) == ()
    it.become(20, "condor_starter", started=BOOT)
    assert it.jobs(at=BOOT + SETTLED) == (BOOT,), "the processes are the same ones, and yet it is a job now"


def test_a_clock_that_is_behind(it: Watched) -> None:
    """A process that seems to start in the future counts as young."""
    idle(it, "w1")
    it.job("w1", 20, started=BOOT + 100)
    assert it.jobs() == () and it.jobs(at=BOOT + 102) == (BOOT + 100,)


def test_processes_are_looked_at_once(it: Watched) -> None:
    """A process is examined once; without a change, nothing is examined."""
    idle(it, "w1")
    it.job("w1", 20)
    assert it.jobs() == (BOOT - 60,)
    it.become(20, "something")
    it.process("w1", 22, "job")
    assert it.jobs() == (BOOT - 60,)


def test_thousands_of_processes(it: Watched) -> None:
    """A job's thousands of processes are examined in parts; its starter, being older, comes
    first."""
    idle(it, "w1")
    it.job("w1", 5_000)
    count = 4_000
    for pid in range(10_000, 10_000 + count):
        it.become(pid, "job", parent=5_001)
    it.pids["w1"] += range(10_000, 10_000 + count)
    it.job("w1", 10_000 + count, started=BOOT - 5)
    assert it.jobs() == (BOOT - 60,), "the first part has the first starter"
    for _ in range(count // MOST):
        it.jobs()
    assert it.jobs() == (BOOT - 60, BOOT - 5)
    it.end("w1", 5_000)
    assert it.jobs() == (BOOT - 5,)


def test_list_that_is_cut(it: Watched) -> None:
    """Of a list too long to read, the part that was read counts."""
    idle(it, "w1")
    it.job("w1", 20)
    it.pids["w1"] += range(1_000_000, 1_020_000)
    it.job("w1", 30)
    assert it.jobs() == (BOOT - 60,)


def test_process_that_is_gone_by_then(it: Watched) -> None:
    """A process that ends before or while it is examined is no job."""
    idle(it, "w1")
    it.pids["w1"].append(20)
    it.process("w1", 21, "job", parent=20)
    assert it.jobs() == ()
    it.job("w1", 30)
    (it.proc / "30" / "comm").unlink()
    assert it.jobs() == ()


def test_worker_that_has_ended(it: Watched) -> None:
    """A worker without processes keeps its last known jobs, for counting what is lost."""
    idle(it, "w1")
    it.job("w1", 20)
    assert it.jobs() == (BOOT - 60,)
    vanish(it.groups / "w1" / "cgroup.procs")
    assert it.jobs() == (BOOT - 60,)


def test_cgroup_that_is_gone(it: Watched) -> None:
    """A worker that ends before it is watched has no figures, and the others keep theirs."""
    idle(it, "w1", "w2")
    it.job("w2", 20)
    it.watch.watch({"w1": it.groups / "nowhere", "w2": it.groups / "w2"})
    it.watch.watch({"w3": it.groups / "nowhere", "w2": it.groups / "w2"})
    assert it.watch.read(BOOT) == {"w2": (BOOT - 60,)}


def test_name_that_is_watched_again(it: Watched) -> None:
    """A missing cgroup is found once it exists."""
    it.watch.watch({"w1": it.groups / "w1"})
    assert it.watch.read(BOOT) == {}
    idle(it, "w1")
    assert it.watch.read(BOOT) == {"w1": ()}


def test_no_files_leak(it: Watched) -> None:
    """Files are closed when workers go and at the end; reading leaves none open."""
    before = open_files()
    names = [f"w{n}" for n in range(50)]
    idle(it, *names)
    it.watch.read(BOOT)
    assert open_files() == before + 50
    it.watch.watch({name: it.groups / name for name in names[:3]})
    it.watch.read(BOOT)
    assert open_files() == before + 3
    it.watch.close()
    assert open_files() == before and it.watch.read(BOOT) == {}


def test_few_descriptors(it: Watched) -> None:
    """With more workers than there may be descriptors, each one's jobs are still seen."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    names = [f"w{number}" for number in range(1, 201)]
    idle(it, *names)
    resource.setrlimit(resource.RLIMIT_NOFILE, (open_files() + 64, before[1]))
    try:
        it.watch.close()
        it.watch = JobWatch(it.proc, "condor_starter")
        it.watch.watch({name: it.groups / name for name in names})
        assert it.watch.read(BOOT) == dict.fromkeys(names, ())
        for number, name in enumerate(names):
            it.job(name, 900_000 + 2 * number)
        assert it.watch.read(BOOT) == dict.fromkeys(names, (BOOT - 60,))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.mark.parametrize("text", ["x", "-1", "1 2", "\xff\0", "9" * 5000, "\u0663", "1.5\n\n"])
def test_strange_lists_of_processes(tmp_path: Path, text: str) -> None:
    """Whatever a list of processes holds, what is no pid in it is passed over."""
    it = Watched(tmp_path)
    it.worker("w")
    it.job("w", 7)
    assert len(it.watch.read(BOOT)["w"]) == 1
    (it.groups / "w/cgroup.procs").write_text(f"{text}\n7\n8\n")
    assert len(it.watch.read(BOOT)["w"]) == 1
