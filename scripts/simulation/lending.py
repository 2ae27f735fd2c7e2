"""A host that lends its CPU over a history: the real policy, simulated workers, and the jobs of a pool
that always has more. Pure.

Within a step all rates are constant, so jobs begin and end to the second whatever the step is; only
decisions wait for its end.
"""

import msgspec

from plancton.model import (
    LEAST_SHARES,
    Action,
    Finish,
    Fleet,
    Observation,
    Phase,
    SetShares,
    Settings,
    Start,
    Worker,
    full_shares,
)
from plancton.policy.decide import State, decide
from plancton.policy.traces import History

START_TIME = 1.0
"""From the decision to the worker's first process (seconds)."""
FIRST_JOB = 14.0
"""From there to its first job: 4 s until the pool sees the slot, 10 s until it has found a job for it."""
REQUEUE_TIME = 11.0
"""From an eviction until that job runs elsewhere."""


class Totals(msgspec.Struct):
    """What became of the CPU that owners left (CPU seconds), and what it took.

    ``done`` went into the ``jobs`` that ended, ``lost`` into those evicted (``kills``), ``open`` into those
    that still ran at the end. ``job_time`` is how long workers had a job (seconds), ``starved`` how long
    they had one and got less CPU than makes a worker worthwhile.
    """

    seconds: float = 0.0
    left: float = 0.0
    donated: float = 0.0
    done: float = 0.0
    lost: float = 0.0
    open: float = 0.0
    job_time: float = 0.0
    starved: float = 0.0
    jobs: int = 0
    kills: int = 0
    starts: int = 0

    def __add__(self, other: "Totals") -> "Totals":
        mine, theirs = msgspec.structs.astuple(self), msgspec.structs.astuple(other)
        return Totals(*(a + b for a, b in zip(mine, theirs, strict=True)))


class Pilot:
    """A worker, the second from which on it has a job, and what that job has used so far."""

    __slots__ = ("job_from", "used", "worker")

    def __init__(self, worker: Worker, job_from: float) -> None:
        self.worker, self.job_from, self.used = worker, job_from, 0.0


class Lending:
    """One host; `run` plays its history."""

    def __init__(self, history: History, settings: Settings, job: float, step: float) -> None:
        self.history, self.job, self.step = history, job, step
        # A step is all that there is to know: none was missed.
        self.settings = msgspec.structs.replace(settings, gap=1.5 * step)
        self.full = full_shares(settings.worker_cpus)
        self.now = 0.0
        self.state, self.pilots = State(), list[Pilot]()
        self.fleet: Fleet | None = None
        self.totals = Totals()

    def run(self) -> Totals:
        for owner in self.history.means(self.step):
            self.now += self.step
            self._work(self.history.cpus - owner)
            self._decide(owner)
        self.totals.seconds = self.now
        self.totals.open = sum(pilot.used for pilot in self.pilots)
        return self.totals

    # ------------------------------------------------------------ workers

    def _work(self, left: float) -> None:
        """A step of all workers with the CPUs that the owner left. Those with full shares get alike, and
        the others what these do not use: 1 or 2 % more than nothing, in truth."""
        self.totals.left += left * self.step
        full = [p for p in self.pilots if p.worker.shares > LEAST_SHARES]
        for pilots in (full, [p for p in self.pilots if p.worker.shares <= LEAST_SHARES]):
            if pilots:
                rate = min(self.settings.worker_cpus, left / len(pilots))
                left = max(0.0, left - rate * len(pilots))
                for pilot in pilots:
                    self._work_one(pilot, rate)

    def _work_one(self, pilot: Pilot, rate: float) -> None:
        seconds = min(self.step, self.now - pilot.job_from)
        if seconds <= 0:
            return
        if not pilot.worker.worked:
            self._change(pilot, jobs=(pilot.job_from,), worked=True)
        used = rate * seconds
        if pilot.used + used >= self.job:
            used = self._end_jobs(pilot, used)
            if pilot.worker.phase is Phase.FINISHING:
                self._remove(pilot)
                seconds, used = seconds - used / rate, 0.0
            else:
                self._change(pilot, jobs=(self.now - used / rate,))
        pilot.used += used
        self.totals.donated += used
        self.totals.job_time += seconds
        if rate < self.settings.worthwhile * self.settings.worker_cpus:
            self.totals.starved += seconds

    def _end_jobs(self, pilot: Pilot, used: float) -> float:
        """What is left of a step's use when the job has had its own, and so have short ones after it; when
        its worker was asked to finish there are none."""
        while pilot.used + used >= self.job:
            need = self.job - pilot.used
            self.totals.donated += need
            self.totals.done += self.job
            self.totals.jobs += 1
            used, pilot.used = used - need, 0.0
            if pilot.worker.phase is Phase.FINISHING:
                break
        return used

    def _change(self, pilot: Pilot, **fields: object) -> None:
        pilot.worker = msgspec.structs.replace(pilot.worker, **fields)
        self.fleet = None

    def _remove(self, pilot: Pilot) -> None:
        self.pilots.remove(pilot)
        self.fleet = None

    # ------------------------------------------------------------ the policy

    def _decide(self, owner: float) -> None:
        if self.fleet is None:
            self.fleet = Fleet.of([pilot.worker for pilot in self.pilots])
        seen = Observation(
            self.now, self.now, self.history.cpus, self.step, owner, image="image", fleet=self.fleet
        )
        decision, self.state = decide(seen, self.state, self.settings)
        for action in decision.actions:
            self._carry_out(action)

    def _carry_out(self, action: Action) -> None:
        if isinstance(action, Start):
            self._start()
            return
        pilot = next(p for p in self.pilots if p.worker.name == action.name)
        if isinstance(action, SetShares):
            self._change(pilot, shares=action.shares, shares_time=self.now)
        elif isinstance(action, Finish) and pilot.worker.worked:
            self._change(pilot, phase=Phase.FINISHING, told=self.now, deadline=self.now + action.timeout)
        else:
            self._evict(pilot)

    def _start(self) -> None:
        """It runs when the next step begins, or has begun within it."""
        self.totals.starts += 1
        started = self.now + START_TIME
        worker = Worker(
            f"{self.history.name}-{self.totals.starts}",
            phase=Phase.RUNNING,
            cpus=self.settings.worker_cpus,
            memory=self.settings.worker_memory,
            shares=self.full,
            started=started,
            image="image",
            jobs=(),
        )
        self.pilots.append(Pilot(worker, started + FIRST_JOB))
        self.fleet = None

    def _evict(self, pilot: Pilot) -> None:
        """Leaving takes a second: the worker is gone before the next decision."""
        if pilot.worker.worked:
            self.totals.kills += 1
            self.totals.lost += pilot.used
        self._remove(pilot)
