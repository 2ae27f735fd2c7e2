"""Which workers run a job, on a fake /proc and fake cgroups whose processes a test controls."""

import os
import resource
from collections.abc import Iterator
from pathlib import Path

import pytest
from unit.trees import pid_stat, tree, vanish

from plancton.host.sampler import USER_HZ
from plancton.workers.jobs import MOST, SETTLED, JobWatch

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

    def process(self, worker: str, pid: int, *command: str, started: float = BOOT - 60) -> None:
        self.become(pid, *command, started=started)
        self.pids[worker].append(pid)
        self._write(worker)

    def become(self, pid: int, *command: str, started: float = BOOT - 60) -> None:
        """Change a process, as execve does: another name and command line."""
        name = os.path.basename(command[0])[:15] if command else "kernel"
        text = "".join(f"{word}\0" for word in command)
        stat = pid_stat(pid, name, started=round(started * USER_HZ))
        tree(self.proc / str(pid), {"stat": stat, "comm": f"{name}\n", "cmdline": text})

    def end(self, worker: str, *pids: int) -> None:
        for pid in pids:
            for file in (self.proc / str(pid)).iterdir():
                file.unlink()
            (self.proc / str(pid)).rmdir()
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
        for place, command in enumerate(("tini", "/bin/sh", "/usr/sbin/condor_master", "condor_startd")):
            it.process(name, number * 1000 + place, command)


def test_a_job_comes_and_goes(it: Watched) -> None:
    """A starter counts as a job from its start to its end."""
    idle(it, "w1")
    assert it.jobs() == ()
    it.process("w1", 20, "condor_starter", "-f", "-local-name", "slot1", started=BOOT + 7)
    it.process("w1", 21, "/home/job", started=BOOT + 8)
    assert it.jobs(at=BOOT + 60) == (BOOT + 7,)
    it.end("w1", 20, 21)
    assert it.jobs(at=BOOT + 65) == ()


def test_several_jobs(it: Watched) -> None:
    """A worker of several slots has several jobs, oldest first; each worker has its own."""
    idle(it, "w1", "w2")
    it.process("w1", 20, "condor_starter", started=BOOT - 10)
    it.process("w1", 21, "/usr/libexec/condor/condor_starter", started=BOOT - 30)
    it.process("w2", 22, "condor_starter", started=BOOT - 20)
    assert it.watch.read(BOOT) == {"w1": (BOOT - 30, BOOT - 10), "w2": (BOOT - 20,)}
    it.end("w1", 21)
    assert it.jobs() == (BOOT - 10,)


@pytest.mark.parametrize(
    "command",
    [
        ("condor_starter", "-classad"),
        ("condor_starterx",),
        ("my_condor_starter",),
        ("sh", "condor_starter"),
        ("condor_starter/x",),
        ("",),
        (),
    ],
    ids=str,
)
def test_no_job(it: Watched, command: tuple[str, ...]) -> None:
    """A starter that is only asked for its properties is no job, nor is a lookalike."""
    idle(it, "w1")
    it.process("w1", 20, *command)
    assert it.jobs() == ()


def test_a_young_process_is_looked_at_again(it: Watched) -> None:
    """Between fork and execve a starter is still a startd, so it is checked again in its first
    second."""
    idle(it, "w1")
    it.process("w1", 20, "condor_startd", started=BOOT)
    assert it.jobs(at=BOOT + 0.1) == ()
    it.become(20, "condor_starter", started=BOOT)
    assert it.jobs(at=BOOT + SETTLED) == (BOOT,), "the processes are the same ones, and yet it is a job now"


def test_a_clock_that_is_behind(it: Watched) -> None:
    """A process that seems to start in the future counts as young."""
    idle(it, "w1")
    it.process("w1", 20, "condor_starter", started=BOOT + 100)
    assert it.jobs() == () and it.jobs(at=BOOT + 102) == (BOOT + 100,)


def test_processes_are_looked_at_once(it: Watched) -> None:
    """A process is examined once; without a change, nothing is examined."""
    idle(it, "w1")
    it.process("w1", 20, "condor_starter")
    assert it.jobs() == (BOOT - 60,)
    it.become(20, "something", "else")
    it.process("w1", 21, "job")
    assert it.jobs() == (BOOT - 60,)


def test_thousands_of_processes(it: Watched) -> None:
    """A job's thousands of processes are examined in parts; its starter, being older, comes
    first."""
    idle(it, "w1")
    it.process("w1", 5_000, "condor_starter")
    count = 4_000
    for pid in range(10_000, 10_000 + count):
        it.become(pid, "job")
    it.pids["w1"] += range(10_000, 10_000 + count - 1)
    it.process("w1", 10_000 + count - 1, "condor_starter", started=BOOT - 5)
    assert it.jobs() == (BOOT - 60,), "the first part has the first starter"
    for _ in range(count // MOST):
        it.jobs()
    assert it.jobs() == (BOOT - 60, BOOT - 5)
    it.end("w1", 5_000)
    assert it.jobs() == (BOOT - 5,)


def test_list_that_is_cut(it: Watched) -> None:
    """Of a list too long to read, the part that was read counts."""
    idle(it, "w1")
    it.process("w1", 20, "condor_starter")
    it.pids["w1"] += range(1_000_000, 1_020_000)
    it.process("w1", 21, "condor_starter")
    assert it.jobs() == (BOOT - 60,)


def test_process_that_is_gone_by_then(it: Watched) -> None:
    """A process that ends before or while it is examined is no job."""
    idle(it, "w1")
    it.pids["w1"].append(20)
    it.process("w1", 21)
    assert it.jobs() == ()
    it.process("w1", 22, "condor_starter")
    (it.proc / "22" / "cmdline").unlink()
    assert it.jobs() == ()


def test_worker_that_has_ended(it: Watched) -> None:
    """A worker without processes keeps its last known jobs, for counting what is lost."""
    idle(it, "w1")
    it.process("w1", 20, "condor_starter")
    assert it.jobs() == (BOOT - 60,)
    vanish(it.groups / "w1" / "cgroup.procs")
    assert it.jobs() == (BOOT - 60,)


def test_cgroup_that_is_gone(it: Watched) -> None:
    """A worker that ends before it is watched has no figures, and the others keep theirs."""
    idle(it, "w1", "w2")
    it.process("w2", 20, "condor_starter")
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
    before = len(os.listdir("/proc/self/fd"))
    names = [f"w{n}" for n in range(50)]
    idle(it, *names)
    it.watch.read(BOOT)
    assert len(os.listdir("/proc/self/fd")) == before + 50
    it.watch.watch({name: it.groups / name for name in names[:3]})
    it.watch.read(BOOT)
    assert len(os.listdir("/proc/self/fd")) == before + 3
    it.watch.close()
    assert len(os.listdir("/proc/self/fd")) == before and it.watch.read(BOOT) == {}


def test_few_descriptors(it: Watched) -> None:
    """With more workers than there may be descriptors, each one's jobs are still seen."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    names = [f"w{number}" for number in range(1, 201)]
    idle(it, *names)
    resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/proc/self/fd")) + 64, before[1]))
    try:
        it.watch.close()
        it.watch = JobWatch(it.proc, "condor_starter")
        it.watch.watch({name: it.groups / name for name in names})
        assert it.watch.read(BOOT) == dict.fromkeys(names, ())
        for number, name in enumerate(names):
            it.process(name, 900_000 + number, "condor_starter", "-f")
        assert it.watch.read(BOOT) == dict.fromkeys(names, (BOOT - 60,))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.mark.parametrize("text", ["x", "-1", "1 2", "\xff\0", "9" * 5000, "\u0663", "1.5\n\n"])
def test_strange_lists_of_processes(tmp_path: Path, text: str) -> None:
    """Whatever a list of processes holds, what is no pid in it is passed over."""
    it = Watched(tmp_path)
    it.worker("w")
    it.process("w", 7, "/usr/sbin/condor_starter", started=BOOT - 60)
    assert len(it.watch.read(BOOT)["w"]) == 1
    (it.groups / "w/cgroup.procs").write_text(f"{text}\n7\n")
    assert len(it.watch.read(BOOT)["w"]) == 1
