"""A host in plain fields: an owner, workers, Docker's delays, two clocks. Of the policy only
`decide` is used: what fits is worked out again from the raw figures, so that a wrong rule shows."""

import copy
from collections.abc import Callable
from typing import NamedTuple

import msgspec

from plancton.model import (
    Action,
    Decision,
    Ended,
    Finish,
    Fleet,
    Freeze,
    Kill,
    Leave,
    Observation,
    OwnerRules,
    Phase,
    SetQuota,
    SetShares,
    Settings,
    Start,
    Thaw,
    Wishes,
    Worker,
)
from plancton.policy.decide import decide
from plancton.policy.state import State

GB = 1_000_000_000
ACTIVE = (Phase.STARTING, Phase.RUNNING)
IN_LINE = (Phase.STARTING, Phase.RUNNING, Phase.FINISHING)
AT_ONCE = 3.0
"""Who is given this long leaves for memory."""


Look = Callable[[Observation, Decision], None]


class Moment(NamedTuple):
    """One tick of the host's history: what the owner left over ``seconds`` until ``end``."""

    end: float
    seconds: float
    cpus: float
    memory: float
    max_workers: float


class Host:
    """Carries out decisions with Docker's delays: a start, a signal and an update take one tick,
    leaving one more, finishing ``job`` seconds. While ``hung`` is true Docker does nothing at
    all."""

    def __init__(self, cpus: float = 4.0, settings: Settings | None = None, memory: int = 64 * GB) -> None:
        self.settings = settings or Settings()
        self.cpus, self.memory = cpus, memory
        self.now, self.boot = 1_000.0, 50_000.0
        self.owner, self.owner_memory = 0.0, 0
        self.use = 0.5  # of its memory limit that a worker takes
        self.work = 1.0  # of its CPUs that a worker takes
        self.job = 20.0
        self.image, self.digest = "image-1", "config-1"
        self.pool = False  # whether new workers let us know of their jobs
        self.max_workers: int | None = None
        self.draining = self.stopping = self.hung = self.blind = False
        self.wishes, self.rules, self.frozen = Wishes(), OwnerRules(), False
        self.workers: dict[str, Worker] = {}
        self.ended: list[Ended] = []
        self.state = State()
        self.made = 0
        self.pending: list[tuple[float, str, Worker | None]] = []
        self.history: list[Moment] = []  # since the last gap
        self.interrupt: int | None = None
        self.known_at = -1e9
        self.lost = 0.0  # jobs that began before this were asleep for longer than their lease
        self._fleet: Fleet | None = None

    # ------------------------------------------------------------ time goes on

    def tick(
        self, seconds: float = 1.0, suspended: float = 0.0, look: Look | None = None
    ) -> tuple[Observation, Decision]:
        """One tick: what was seen and decided; afterwards the actions are under way. ``look`` is
        called with both before the workers change."""
        self.now += seconds
        self.boot += seconds + suspended
        if self.settings.lease and suspended > self.settings.lease and self.state.last_boottime:
            self.lost = self.state.last_boottime
        if not self.hung:
            self._settle()
        seen = self.observe(seconds)
        self._note(seen, seconds)
        decision, self.state = decide(seen, self.state, self.settings)
        self.ended = []
        if look:
            look(seen, decision)
        if self.interrupt is not None and decision.actions:
            self.carry_out(decision.actions[: self.interrupt])
            self.restart(told_are_gone=False)
        else:
            self.carry_out(decision.actions)
        return seen, decision

    def run(self, seconds: float) -> list[tuple[Observation, Decision]]:
        """Ticks of one second."""
        return [self.tick() for _ in range(round(seconds))]

    def observe(self, seconds: float) -> Observation:
        owner = min(self.cpus, self.owner)
        left = self.cpus - owner
        wanted = sum(w.cpus for w in self.workers.values() if w.phase is not Phase.STARTING)
        donated = min(left, self.work * wanted)
        anon = sum(int(self.use * w.memory) for w in self.workers.values())
        return Observation(
            time=self.now,
            boottime=self.boot,
            capacity=self.cpus,
            interval=seconds,
            owner=None if self.blind else owner,
            donated=donated,
            idle=left - donated,
            memory_total=self.memory,
            memory_available=max(0, self.memory - self.owner_memory - anon),
            slice_anon=anon,
            max_workers=self.max_workers,
            image=self.image,
            digest=self.digest,
            docker=not self.hung,
            draining=self.draining,
            stopping=self.stopping,
            ended=tuple(self.ended),
            fleet=self.fleet,
            wishes=self.wishes,
            rules=self.rules,
            frozen=self.frozen,
        )

    def _note(self, seen: Observation, seconds: float) -> None:
        if self.boot - self.known_at > 5:  # the first tick after a gap tells nothing but that it is over
            self.history.clear()
            self.known_at = self.boot
            return
        if seen.owner is None:
            return
        self.known_at = self.boot
        # What the owner leaves: of CPUs all he does not use; of memory all but his own and the
        # reserve. When there is too little for both, what workers have counts as theirs.
        anon, available = seen.slice_anon or 0, seen.memory_available or 0
        memory = available + anon - self.settings.reserve_memory
        most = float("inf") if self.max_workers is None else self.max_workers
        cpus = self.cpus - seen.owner - self.settings.reserve_cpus
        self.history.append(Moment(self.now, seconds, cpus, memory, most))

    # ------------------------------------------------------------ Docker

    @property
    def fleet(self) -> Fleet:
        if self._fleet is None:
            self._fleet = Fleet.of(list(self.workers.values()))
        return self._fleet

    def _settle(self) -> None:
        due = [p for p in self.pending if p[0] <= self.now + 1e-9 and not self._can_not(p[1], p[2])]
        if not due:
            return
        self.pending = [p for p in self.pending if p not in due]
        for _, name, worker in due:
            if worker is None:
                self.workers.pop(name, None)
            elif name in self.workers:
                self.workers[name] = worker
        self._fleet = None

    def _can_not(self, name: str, then: Worker | None) -> bool:
        """Who is frozen neither starts nor goes, except by being killed."""
        worker = self.workers.get(name)
        if worker is None or not self.frozen or worker.phase is Phase.KILLED:
            return False
        return then is None or worker.phase is Phase.STARTING

    def _later(self, seconds: float, name: str, worker: Worker | None) -> None:
        self.pending = [p for p in self.pending if p[1] != name]
        self.pending.append((self.now + seconds, name, worker))

    def carry_out(self, actions: tuple[Action, ...]) -> None:
        for action in actions:
            self._fleet = None
            match action:
                case Freeze() | Thaw():
                    self.frozen = isinstance(action, Freeze)
                case Start():
                    self.add_starting()
                case SetShares(name, shares):
                    asked = msgspec.structs.replace(self.workers[name], busy=True, shares_time=self.now)
                    self.workers[name] = asked
                    self._later(1.0, name, msgspec.structs.replace(asked, busy=False, shares=shares))
                case SetQuota(name, cpus):
                    self.workers[name] = msgspec.structs.replace(self.workers[name], quota=cpus)
                case Finish(name, _, timeout):
                    self._tell(name, Phase.FINISHING, timeout)
                    self._later(self.job, name, None)
                case Leave(name, _, timeout):
                    self._tell(name, Phase.LEAVING, timeout)
                    self._later(2.0, name, None)
                case Kill(name):
                    self._tell(name, Phase.KILLED, 5.0)
                    self._later(1.0, name, None)

    def _tell(self, name: str, phase: Phase, timeout: float) -> None:
        self.workers[name] = msgspec.structs.replace(
            self.workers[name], phase=phase, told=self.now, deadline=self.now + timeout, busy=False
        )

    def add_starting(self) -> None:
        self.made += 1
        worker = Worker(
            f"worker-{self.made}",
            f"id-{self.made}",
            cpus=self.settings.worker_cpus,
            memory=self.settings.worker_memory,
            shares=max(2, round(1024 * self.settings.worker_cpus)),
            image=self.image,
            digest=self.digest,
            jobs=() if self.pool else None,
        )
        self.workers[worker.name] = worker
        self._later(1.0, worker.name, msgspec.structs.replace(worker, phase=Phase.RUNNING, started=self.boot))
        self._fleet = None

    def add_running(self, age: float) -> Worker:
        """Add a worker that has been running for this long."""
        self.add_starting()
        name = f"worker-{self.made}"
        worker = msgspec.structs.replace(
            self.workers[name], phase=Phase.RUNNING, started=self.boot - age, id=name
        )
        self.workers[name] = worker
        self.pending = [p for p in self.pending if p[1] != name]
        return worker

    def has_jobs(self, name: str, jobs: tuple[float, ...]) -> None:
        """Set its jobs, whatever is under way with it."""

        def changed(worker: Worker) -> Worker:
            return msgspec.structs.replace(worker, jobs=jobs, worked=worker.worked or jobs != ())

        self.workers[name] = changed(self.workers[name])
        self.pending = [(at, n, changed(w) if w and n == name else w) for at, n, w in self.pending]
        self._fleet = None

    def ends(self, name: str, reason: str = "exit code 1", idle: bool = False) -> None:
        """A worker ends without being told to, or is killed by somebody."""
        worker = self.workers.pop(name)
        self.pending = [p for p in self.pending if p[1] != name]
        if worker.told is None:
            age = 0.0 if worker.started is None else self.boot - worker.started
            self.ended.append(Ended(name, age, reason, idle))
        self._fleet = None

    def restart(self, told_are_gone: bool, starting_exist: bool = True) -> None:
        """The supervisor restarts: it knows only what Docker knows, not which workers were told to
        go."""
        self.state, self.interrupt, self.pending, self.lost = State(), None, [], 0.0
        self.frozen = False  # as Slice.take does
        self.history.clear()
        self.known_at = -1e9
        for worker in list(self.workers.values()):
            told = worker.told is not None
            if (told and told_are_gone) or (worker.phase is Phase.STARTING and not starting_exist):
                del self.workers[worker.name]
                continue
            started = self.boot if worker.started is None else worker.started
            self.workers[worker.name] = msgspec.structs.replace(
                worker,
                phase=Phase.RUNNING,
                started=started,
                told=None,
                busy=False,
                shares_time=None,
                worked=bool(worker.jobs),
            )
        self._fleet = None

    def has_lost(self, worker: Worker) -> bool:
        """Whether its job runs elsewhere by now."""
        return bool(worker.jobs and min(worker.jobs) < self.lost)

    @property
    def asks_for_nothing(self) -> bool:
        """Whether the owner leaves us alone, and did so when we last looked."""
        nothing = self.wishes == Wishes() and self.rules == OwnerRules()
        return nothing and not self.state.standing.is_paused and not self.state.standing.sends_away

    def copy(self) -> "Host":
        return copy.deepcopy(self)

    # ------------------------------------------------------------ what fits, worked out from the raw figures

    @property
    def active(self) -> list[Worker]:
        return [w for w in self.workers.values() if w.phase in ACTIVE]

    def line(self) -> list[Worker]:
        """The workers that use CPU: the one with the most to lose is first, a job or, without one,
        a life."""
        there = [w for w in self.workers.values() if w.phase in IN_LINE]
        new = [w for w in there if w.started is None]
        working = [w for w in there if w.started is not None and w.jobs]
        others = [w for w in there if w.started is not None and not w.jobs]
        return [
            *sorted(working, key=lambda w: (min(w.jobs or ()), w.name)),
            *sorted(others, key=lambda w: (w.started, w.name)),
            *sorted(new, key=lambda w: (not w.jobs, w.name)),
        ]

    def needs(self, line: list[Worker], place: int) -> tuple[float, float]:
        """The room (CPUs, bytes) that this one in line needs to fit."""
        older, worker = line[:place], line[place]
        part = self.settings.worthwhile
        return (
            sum(w.cpus for w in older) + part * worker.cpus,
            sum(w.memory for w in older) + part * worker.memory,
        )

    def fitting(self, line: list[Worker], cpus: float, memory: float, most: float) -> int:
        """How many of the first in line fit, one after the other."""
        count = 0
        while count < len(line) and count < most:
            need_cpus, need_memory = self.needs(line, count)
            if need_cpus > cpus or need_memory > memory:
                break
            count += 1
        return count

    def calm(self, seconds: float = 0.0) -> list[Moment]:
        """The moments of the last seconds (at least the last tick), oldest first; the room of
        each is averaged over the ten seconds before it (or a third of grace_kill, if that is
        shorter)."""
        length = min(10.0, self.settings.grace_kill / 3)
        moments, out = self.history, list[Moment]()
        for place in range(len(moments) - 1, -1, -1):
            moment = moments[place]
            if out and moment.end <= self.now - seconds + 1e-6:
                break
            known = cpus = memory = 0.0
            for other in range(place, -1, -1):
                if moments[other].end <= moment.end - length:
                    break
                begin = max(moments[other].end - moments[other].seconds, moment.end - length)
                within = moments[other].end - begin
                known += within
                cpus += moments[other].cpus * within
                memory += moments[other].memory * within
            out.append(moment._replace(cpus=cpus / known, memory=memory / known))
        return out[::-1]

    def fitted(self, worker: Worker, line: list[Worker], seconds: float) -> tuple[float, float]:
        """The part of the last seconds in which this worker fitted, and how many of them are
        known."""
        place = line.index(worker)
        cpus, memory = self.needs(line, place)
        window = self.calm(seconds)
        known = sum(m.seconds for m in window)
        held = sum(
            m.seconds for m in window if m.cpus >= cpus and m.memory >= memory and place < m.max_workers
        )
        return (held / known if known else 0.0), known

    def steady_bounds(self) -> tuple[int, int]:
        """How few and how many workers of today's kind a steady owner leaves room for: as many
        as would be started, and as many as would be kept (rooms between the two keep what is
        there)."""
        settings = self.settings
        cpus = self.cpus - min(self.owner, self.cpus) - settings.reserve_cpus
        memory = self.memory - self.owner_memory - settings.reserve_memory
        most = 10_000 if self.max_workers is None else self.max_workers
        few = many = 0
        start = min(1.0, settings.worthwhile + 0.2)
        while few < most and settings.worker_cpus * (few + start) <= cpus + 1e-9:
            if settings.worker_memory * (few + 1) > memory:
                break
            few += 1
        while many < most and settings.worker_cpus * (many + settings.worthwhile) <= cpus + 1e-9:
            if settings.worker_memory * (many + settings.worthwhile) > memory:
                break
            many += 1
        return few, many
