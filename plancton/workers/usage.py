"""Reads each worker's figures every few seconds: CPU, memory, its jobs; and its shim's CPU."""

from collections.abc import Iterable
from pathlib import Path

import msgspec

from plancton.config.condor_environment import JOB_PROCESS
from plancton.host.engine_cpu import service_stat
from plancton.host.sampler import Group
from plancton.host.slice import Slice
from plancton.model import Fleet
from plancton.policy.tick_interval import AT_REST
from plancton.workers.roster import Entry
from plancton.workers.running_jobs import JobWatch

Counters = dict[str, float | None]

READ_PER_WORKER = 0.5
"""Seconds per worker after which all are read again. With many they are read less often, so that a second
does not cost more with them."""
READ_TO_CHOOSE = 0.06
"""The same when one of them may have to leave: who has a job decides which one."""
READ_AT_REST, MOST_AT_REST = 2.0, 60.0
"""The same while they rest, and the most (seconds) to which that makes it longer."""


class Usage(msgspec.Struct, frozen=True):
    """One worker's figures: CPUs, bytes, when its running jobs started, and the CPU seconds used
    since the oldest did; ``used`` are all that it ever used."""

    cpu: float | None = None
    memory: float | None = None
    jobs: tuple[float, ...] | None = None
    job_cpu: float = 0.0
    used: float | None = None


def between_readings(fleet: Fleet, donated: float | None, one_may_leave: bool) -> float:
    """Seconds for which what is known of each worker is new enough. To read 32 of them costs more than
    all else in a tick."""
    count = len(fleet.workers)
    if one_may_leave:
        return READ_TO_CHOOSE * count
    if donated is not None and donated <= AT_REST and not fleet.has_jobs:
        return max(READ_PER_WORKER * count, min(READ_AT_REST * count, MOST_AT_REST))
    return READ_PER_WORKER * count


class WorkerUsage:
    """Keeps the files of a slice's workers open, and remembers their last counters."""

    def __init__(self, workers_slice: Slice, proc: Path) -> None:
        self._slice, self._proc = workers_slice, proc
        self._cpu, self._memory, self._shim = Group[str](), Group[str](), Group[str]()
        self._jobs = JobWatch(proc, JOB_PROCESS)
        self._cpus: dict[str, float] = {}
        self._began: dict[str, dict[float, float]] = {}
        """For each worker's running jobs, by when they began: the CPU it had used by then."""
        self._fleet: Fleet | None = None
        self._time = 0.0
        self._old: tuple[Counters, Counters] = {}, {}
        self.by_name: dict[str, Usage] = {}
        self.shims = 0.0
        """CPUs used by shims that belong to none of the engine's services."""

    def read(self, now: float, boottime: float, fleet: Fleet, entries: Iterable[Entry]) -> None:
        """Read all. ``entries`` are looked at when ``fleet`` is not that of the last call."""
        if fleet is not self._fleet:
            self._fleet = fleet
            self._watch([entry for entry in entries if entry.group])
        seconds, self._time = now - self._time, now
        old, self._old = self._old, (self._cpu.read(), self._shim.read())
        cpu, shim = (_rates(before, new, seconds) for before, new in zip(old, self._old, strict=True))
        memory, jobs = self._memory.read(), self._jobs.read(boottime)
        self._note_beginnings(jobs, old[0], boottime)
        self.by_name = {
            name: Usage(
                cpu.get(name), memory[name], jobs.get(name), self._job_cpu(name), self._old[0].get(name)
            )
            for name in memory
        }
        self.shims = sum(shim.values())

    def _note_beginnings(self, jobs: dict[str, tuple[float, ...]], last: Counters, boottime: float) -> None:
        """Remember what CPU each job's worker had used when the job began: what it had at the last
        reading, unless the job is too young to have used the rest."""
        before, self._began = self._began, {}
        for name, starts in jobs.items():
            known, earlier = before.get(name, {}), last.get(name) or 0.0
            used, cpus = self._old[0].get(name) or 0.0, self._cpus[name]
            self._began[name] = {
                start: known[start] if start in known else max(earlier, used - cpus * (boottime - start))
                for start in starts
            }

    def _job_cpu(self, name: str) -> float:
        began, used = self._began.get(name), self._old[0].get(name)
        return max(0.0, used - next(iter(began.values()))) if began and used is not None else 0.0

    def _watch(self, entries: list[Entry]) -> None:
        workers_slice, memory = self._slice, self._slice.memory_stat.parent.parent
        self._cpus = {e.worker.name: e.worker.cpus for e in entries}
        self._jobs.watch(
            {e.worker.name: workers_slice.tree / e.group for e in entries if e.worker.jobs is not None}
        )
        self._cpu.watch({e.worker.name: workers_slice.tree / e.group / "cpu.stat" for e in entries})
        self._memory.watch({e.worker.name: memory / e.group / "memory.stat" for e in entries})
        # Those in a service are part of the service's own figure, which each tick reads.
        alone = [
            e for e in entries if e.shim > 1 and service_stat(self._proc, e.shim, workers_slice.tree) is None
        ]
        self._shim.watch({e.worker.name: self._proc / str(e.shim) / "stat" for e in alone})

    def close(self) -> None:
        for group in (self._cpu, self._memory, self._shim, self._jobs):
            group.close()


def _rates(before: Counters, now: Counters, seconds: float) -> dict[str, float]:
    rates = dict[str, float]()
    for name, value in now.items():
        earlier = before.get(name)
        if earlier is not None and value is not None and value >= earlier and seconds > 0:
            rates[name] = (value - earlier) / seconds
    return rates
