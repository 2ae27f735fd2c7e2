"""All workers, by our requests and Docker's messages. Only the loop changes it; no I/O."""

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from time import CLOCK_BOOTTIME, clock_gettime, time

import msgspec

from plancton.docker.replies import Container
from plancton.host.slice_bounds import PERIOD, cpu_quota
from plancton.model import Ended, Fleet, Phase, Worker
from plancton.units import human_seconds
from plancton.workers.container import (
    CHECKPOINT,
    CHECKPOINT_SIGNALS,
    CPUS,
    DIGEST,
    HTCONDOR,
    IMAGE,
    MEMORY,
    POOL,
    label_number,
)
from plancton.workers.docker_calls import Known
from plancton.workers.job_accounting import Most

JOBS_PER_SECOND = 2.0
"""More than any pool gets through on one CPU: matching and starting one takes longer."""
GHOST_SECONDS = 900.0
"""How long a pool shows a slot that it hears nothing of (HTCondor's CLASSAD_LIFETIME)."""
LIVES, LEAST_LIVES = 100, 5
"""How many workers' lives are remembered, and from how many on something can be said of them."""
LEAST_NEWS, NEWS = 30.0, 0.05
"""CPU seconds, or the part of them, from which on what is at stake has changed for the policy."""


class Entry(msgspec.Struct):
    """A worker, and when its start was requested (CLOCK_BOOTTIME). ``user`` is its UID:GID, ``group`` its
    cgroup in the v2 tree, ``pid`` its first process, ``shim`` the process that the engine keeps for it,
    ``job_cpu`` the CPU seconds that it is known to have used since its oldest running job began,
    ``reported`` the jobs that its report tells of, by when they began.

    ``used`` are the CPU seconds that it had used at ``used_at`` (CLOCK_BOOTTIME), by the kernel.
    ``oom_kills`` are when the kernel last killed one of its processes for memory. ``checkpoint`` is the
    signal with which it has its jobs save their state, if it knows one. ``updates`` counts our own updates of
    it of which Docker's event is still to come. ``kills`` counts how often it was killed, ``killing`` says
    that Docker has not answered to that yet; ``lifted`` in which phases it got a lift. ``removals`` counts
    those that failed, the next is not before ``next_removal`` (CLOCK_MONOTONIC); ``removing`` says that one
    is under way, ``refused`` why Docker did not end or remove it when it was last asked to.
    """

    worker: Worker
    requested: float = 0.0
    user: str = ""
    checkpoint: str = ""
    group: str = ""
    pid: int = 0
    shim: int = 0
    job_cpu: float = 0.0
    reported: set[float] = set()
    age: float = 0.0
    used: float | None = None
    used_at: float = 0.0
    oom_kills: list[float] = []
    updates: int = 0
    kills: int = 0
    killing: bool = False
    bypassed: bool = False
    lifted: set[Phase] = set()
    removals: int = 0
    next_removal: float = 0.0
    removing: bool = False
    refused: str = ""

    def most(self, boottime: float) -> Most:
        """What it can have done until then."""
        worker = self.worker
        since = self.requested if worker.started is None else worker.started
        age = self.age if worker.phase is Phase.ENDED and self.age else max(0.0, boottime - since)
        cpu = worker.cpus * age
        if self.used is not None:
            cpu = min(cpu, self.used + worker.cpus * max(0.0, since + age - self.used_at))
        return Most(1 + age * JOBS_PER_SECOND * max(1.0, worker.cpus), cpu)


class Roster:
    """All workers by name: the one that they were requested or adopted with.

    Whatever Docker tells is about a container's id: others may rename a worker, or give another
    container its name. ``on_departed`` gets each one that is gone: how long it lived, whether it was
    started, and whether it was told to go.
    """

    def __init__(self, on_departed: Callable[[float, bool, bool], None] = lambda *_: None) -> None:
        self._on_departed = on_departed
        self._entries: dict[str, Entry] = {}
        self._names: dict[str, str] = {}
        self._fleet: Fleet | None = None
        self._ended: list[Ended] = []
        self._unexplained: set[str] = set()
        self._lives = deque[float](maxlen=LIVES)
        self._died = deque[tuple[str, float]](maxlen=LIVES)

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[Entry]:
        return iter(list(self._entries.values()))

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def get(self, name: str) -> Entry | None:
        return self._entries.get(name)

    def __getitem__(self, name: str) -> Entry:
        return self._entries[name]

    def find(self, container: str, name: str = "") -> Entry | None:
        """The worker with this container; else the one of this name whose container is not known yet."""
        if container in self._names:
            return self._entries[self._names[container]]
        entry = self._entries.get(name)
        return entry if entry is not None and (not entry.worker.id or not container) else None

    @property
    def users(self) -> set[str]:
        """UID:GID of those that may have processes."""
        return {entry.user for entry in self}

    @property
    def fleet(self) -> Fleet:
        """For the policy: all except those that have ended and only await removal."""
        if self._fleet is None:
            self._fleet = Fleet.of([e.worker for e in self if e.worker.phase is not Phase.ENDED])
        return self._fleet

    @property
    def known(self) -> dict[str, Known]:
        """Those that run, by their ids, except where only Docker knows how they are."""
        return {
            entry.worker.id: Known(entry.worker.name, entry.pid, entry.worker.started)
            for entry in self
            if entry.worker.phase is Phase.RUNNING
            and entry.worker.started is not None
            and not entry.worker.paused
        }

    @property
    def median_life(self) -> float | None:
        """How long workers lived until they were told to go, if there have been some."""
        count = len(self._lives)
        return sorted(self._lives)[count // 2] if count >= LEAST_LIVES else None

    def take_ended(self) -> tuple[Ended, ...]:
        """Those that ended without being told to since the last call."""
        ended, self._ended = tuple(self._ended), []
        return ended

    @property
    def unexplained(self) -> bool:
        """Whether one ended without being told to, and it is not known yet how."""
        return bool(self._unexplained)

    # ------------------------------------------------------------ coming

    def request(self, worker: Worker, boottime: float, user: str = "") -> None:
        self._entries[worker.name] = Entry(worker, boottime, user)
        self._fleet = None

    def arrived(self, container: Container, started: float | None, group: str, shim: int) -> Entry:
        """A container of ours runs: one that was requested, one to adopt, or one that somebody has
        started once more."""
        entry = self.find(container.id, container.name)
        if entry is None:
            entry = Entry(adopted(container))
            if entry.worker.name in self._entries:  # one that goes still has this name
                name = f"{container.name}-{container.id[:6]}"
                entry.worker = msgspec.structs.replace(entry.worker, name=name, renamed=container.name)
            self._entries[entry.worker.name] = entry
        elif entry.worker.id and container.state.pid != entry.pid:
            self._begin_again(entry)
        self._names[container.id] = entry.worker.name
        entry.user = container.config.user
        said = container.config.labels.get(CHECKPOINT, "")
        entry.checkpoint = said if said in CHECKPOINT_SIGNALS else ""
        entry.group, entry.shim, entry.pid = group, shim, container.state.pid
        phase = Phase.RUNNING if entry.worker.phase is Phase.STARTING else entry.worker.phase
        self._replace(entry, id=container.id, started=started, phase=phase)
        return entry

    def _begin_again(self, entry: Entry) -> None:
        """Whatever its first life was told, the second has not heard of it."""
        worker = entry.worker
        entry.kills, entry.bypassed, entry.lifted = 0, False, set()
        entry.removals, entry.next_removal = 0, 0.0
        entry.job_cpu, entry.used = 0.0, None
        self._unexplained.discard(worker.name)
        self._replace(
            entry,
            phase=Phase.RUNNING,
            told=None,
            deadline=None,
            busy=False,
            stuck=False,
            restarts=worker.restarts + 1,
            worked=False,
            flooding="",
            hoards=False,
            jobs=None if worker.jobs is None else (),
        )

    def failed(self, name: str, reason: str, boottime: float) -> None:
        """A worker could not be started."""
        entry = self._entries.get(name)
        if entry is None:
            return
        if entry.worker.told is None:
            self._ended.append(Ended(name, max(0.0, boottime - entry.requested), reason))
        self._on_departed(0.0, False, False)
        self.gone(name)

    # ------------------------------------------------------------ changing

    def tell(self, name: str, phase: Phase, now: float, timeout: float) -> None:
        """A worker is told to go, as this phase says, within ``timeout`` seconds."""
        self.change(name, phase=phase, told=now, deadline=now + timeout)

    def note_jobs(self, name: str, jobs: tuple[float, ...], cpu: float) -> bool:
        """A worker now runs these jobs; whether one that it ran before has ended."""
        entry = self._entries.get(name)
        if entry is None or entry.worker.jobs is None or entry.worker.phase is Phase.ENDED:
            return False
        before, entry.job_cpu = entry.worker.jobs, cpu
        stake = cpu if jobs else 0.0
        if jobs != before or abs(stake - entry.worker.stake) > max(LEAST_NEWS, NEWS * stake):
            self._replace(entry, jobs=jobs, worked=entry.worker.worked or jobs != (), stake=stake)
        return not set(before) <= set(jobs)

    def note_used(self, name: str, seconds: float, boottime: float) -> None:
        """A worker had used this much CPU then."""
        if entry := self._entries.get(name):
            entry.used, entry.used_at = seconds, boottime

    def accuse(self, found: Mapping[str, str], hoards: bool = False) -> None:
        """These workers keep others busy, for these reasons: they leave, and soon if it is memory that
        they ``hoard``."""
        for name, reason in found.items():
            self.change(name, flooding=reason, hoards=hoards)

    def ends_at(self, name: str, until: float) -> None:
        """It is to finish then (Unix time), before its token ends."""
        self.change(name, until=clock_gettime(CLOCK_BOOTTIME) + until - time())

    def change(self, name: str, **fields: object) -> None:
        entry = self._entries.get(name)
        if entry is not None:
            self._replace(entry, **fields)

    def _replace(self, entry: Entry, **fields: object) -> None:
        entry.worker = msgspec.structs.replace(entry.worker, **fields)
        self._fleet = None

    # ------------------------------------------------------------ going

    def ended(self, name: str, boottime: float) -> bool:
        """A worker's container has ended; whether that is news."""
        entry = self._entries.get(name)
        if entry is None or entry.worker.phase is Phase.ENDED:
            return False
        started = entry.worker.started
        entry.age = 0.0 if started is None else max(0.0, boottime - started)
        self._replace(entry, phase=Phase.ENDED)
        if entry.worker.told is None:
            self._unexplained.add(name)
        return True

    def explain(self, name: str, reason: str, idle: bool = False, unseen: bool = False) -> str:
        """Say how a worker ended, in one sentence. An ``unseen`` end is no failure."""
        entry = self._entries[name]
        self._unexplained.discard(name)
        told = entry.worker.told is not None
        self._on_departed(entry.age, True, told)
        if told:
            self._lives.append(entry.age)
        if not told and not unseen:
            self._ended.append(Ended(name, entry.age, reason, idle))
        return f"{name} {'is gone' if told else 'ended'} after {human_seconds(entry.age)}: {reason}"

    def died(self, name: str) -> None:
        """A member of a pool ended in disorder: its pool may not know."""
        if self._entries[name].worker.jobs is not None:
            self._died.append((name, clock_gettime(CLOCK_BOOTTIME)))

    def recently_died(self) -> list[str]:
        """Those whose slots may still be shown in their pool."""
        now = clock_gettime(CLOCK_BOOTTIME)
        return [name for name, when in self._died if now - when < GHOST_SECONDS]

    def gone(self, name: str) -> None:
        entry = self._entries.pop(name, None)
        if entry is not None:
            self._names.pop(entry.worker.id, None)
        self._unexplained.discard(name)
        self._fleet = None


def adopted(container: Container) -> Worker:
    """A worker that an earlier supervisor started, from its labels."""
    labels = container.config.labels
    cpus = max(0.01, label_number(labels, CPUS, 1.0))
    return Worker(
        name=container.name,
        cpus=cpus,
        memory=int(label_number(labels, MEMORY, container.host_config.memory)),
        shares=container.host_config.cpu_shares or 1024,
        quota=quota_of(container, cpus),
        image=labels.get(IMAGE, ""),
        digest=labels.get(DIGEST, ""),
        jobs=() if labels.get(POOL) == HTCONDOR else None,
    )


def quota_of(container: Container, cpus: float) -> float | None:
    """What Docker lets it have; None: all that it was created with."""
    has = container.host_config.cpu_quota
    return None if has in (0, cpu_quota(cpus)) else has / PERIOD
