"""A host that lends its CPU over a history: the real policy, simulated workers, and the jobs of a
pool that always has more. Pure.

Within a step all rates are constant, so jobs begin and end to the second whatever the step is; only
decisions wait for its end.
"""

import msgspec

from plancton.model import LEAST_SHARES, Fleet, Observation, Phase, Settings, Worker
from plancton.policy.simulator import START_TIME, Simulator
from plancton.policy.tick_interval import changes_nothing, next_tick, stretched
from plancton.policy.traces import History

FIRST_JOB = 14.0
"""From a worker's first process to its first job (seconds): 4 until the pool sees the slot, 10
until it has found a job for it."""
EARLY = 1e-6
"""Seconds by which sums of steps may be off."""
REQUEUE_TIME = 11.0
"""From an eviction until that job runs elsewhere."""


class Totals(msgspec.Struct):
    """Where the CPU that owners left went (CPU seconds). ``done`` went into the ``jobs`` that
    ended, ``lost`` into those evicted (``kills``), ``open`` into those that still ran at the end.
    ``job_time`` is how long workers had a job (seconds), ``starved`` how long they had one but less
    CPU than makes a worker worthwhile."""

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
    """The second from which a worker has a job, and what that job has used so far."""

    __slots__ = ("job_from", "used")

    def __init__(self, job_from: float) -> None:
        self.job_from, self.used = job_from, 0.0


class Lending:
    """One host; `run` plays its history. With ``calm``, decisions wait as `plancton run` lets them,
    up to that many seconds and to the end of a step, and else for the end of each step."""

    def __init__(
        self, history: History, settings: Settings, job: float, step: float, calm: float = 0.0
    ) -> None:
        self.history, self.job, self.step, self.calm = history, job, step, calm
        # A step is all that there is to know: none was missed.
        self.settings = msgspec.structs.replace(settings, gap=1.5 * max(step, stretched(calm)))
        self.simulator = Simulator(self.settings, history.name)
        self.now = self.last = self.due = 0.0
        self.used = 0.0
        """CPU seconds of the owner's since the last tick."""
        self.donated = 0.0
        """The workers' until then."""
        self.pilots = dict[str, Pilot]()
        self.fit = 0
        self.totals = Totals()

    def run(self) -> Totals:
        for owner in self.history.means(self.step):
            self.now += self.step
            before = self.totals.donated
            self._work(self.history.cpus - owner)
            self.used += owner * self.step
            lately = None
            if self.calm and self.settings.uses_quota:
                lately = self._rates(self.step, owner, (self.totals.donated - before) / self.step)
            if self.now >= self.due - EARLY or (lately and not self._rests(lately)):
                self._decide(lately)
        self.totals.seconds = self.now
        self.totals.starts = self.simulator.made
        self.totals.open = sum(pilot.used for pilot in self.pilots.values())
        return self.totals

    # ------------------------------------------------------------ workers

    def _work(self, left: float) -> None:
        """A step of all workers with the CPUs that the owner left. Those with full shares get equal
        parts, and the others what these do not use (in reality 1 or 2 % more); with a quota, no
        more than that."""
        self.totals.left += left * self.step
        workers = self.simulator.workers.values()
        full = [w for w in workers if w.shares > LEAST_SHARES]
        for group in (full, [w for w in workers if w.shares <= LEAST_SHARES]):
            part = left / len(group) if group else 0.0
            for worker in group:
                rate = min(self.settings.worker_cpus if worker.quota is None else worker.quota, part)
                left = max(0.0, left - rate)
                self._work_one(worker, self.pilots[worker.name], rate)

    def _work_one(self, worker: Worker, pilot: Pilot, rate: float) -> None:
        seconds = min(self.step, self.now - pilot.job_from)
        if seconds <= 0:
            return
        if not worker.worked:
            self.simulator.change(worker.name, jobs=(pilot.job_from,), worked=True)
        used = rate * seconds
        if pilot.used + used >= self.job:
            finishing = worker.phase is Phase.FINISHING
            used = self._end_jobs(pilot, used, finishing)
            if finishing:
                self.simulator.remove(worker.name)
                del self.pilots[worker.name]
                seconds, used = seconds - used / rate, 0.0
            else:
                self.simulator.change(worker.name, jobs=(self.now - used / rate,))
        pilot.used += used
        self.totals.donated += used
        self.totals.job_time += seconds
        if rate < self.settings.worthwhile * self.settings.worker_cpus:
            self.totals.starved += seconds

    def _end_jobs(self, pilot: Pilot, used: float, finishing: bool) -> float:
        """What is left of a step's use after the job and short ones after it; if its worker was
        asked to finish, none follow."""
        while pilot.used + used >= self.job:
            need = self.job - pilot.used
            self.totals.donated += need
            self.totals.done += self.job
            self.totals.jobs += 1
            used, pilot.used = used - need, 0.0
            if finishing:
                break
        return used

    # ------------------------------------------------------------ the policy

    def _rests(self, lately: Observation) -> bool:
        """Whether a glance, where a quota has to follow the owner, finds nothing to do."""
        simulator = self.simulator
        return changes_nothing(lately, simulator.fleet, simulator.state, self.settings)

    def _rates(self, seconds: float, owner: float, donated: float) -> Observation:
        idle = max(0.0, self.history.cpus - owner - donated)
        return Observation(
            self.now, self.now, self.history.cpus, seconds, owner, donated=donated, idle=idle, image="image"
        )

    def _decide(self, lately: Observation | None) -> None:
        if self.fit < len(self.simulator.workers):
            self._put_at_stake()
        fleet, seconds = self.simulator.fleet, self.now - self.last
        seen = self._rates(seconds, self.used / seconds, (self.totals.donated - self.donated) / seconds)
        seen = msgspec.structs.replace(seen, fleet=fleet, lately=lately)
        self.donated = self.totals.donated
        decision = self.simulator.tick(seen)
        self.fit = decision.fit
        if decision.actions:
            self._follow(fleet)
        self.last, self.used = self.now, 0.0
        if self.calm:
            state, steady = self.simulator.state, stretched(self.calm)
            self.due = self.now + next_tick(seen, decision, state, self.settings, self.calm, steady)

    def _put_at_stake(self) -> None:
        """What each worker's job has used, as it is read while one may have to leave."""
        for name, pilot in self.pilots.items():
            worker = self.simulator.workers[name]
            if worker.jobs and worker.stake != pilot.used:
                self.simulator.change(name, stake=pilot.used)

    def _follow(self, before: Fleet) -> None:
        """A started worker will find a job, a leaving one has lost its job."""
        for worker in before.workers:
            if worker.name not in self.simulator.workers:
                pilot = self.pilots.pop(worker.name)
                if worker.worked:
                    self.totals.kills += 1
                    self.totals.lost += pilot.used
        for name in self.simulator.workers.keys() - self.pilots.keys():
            self.simulator.change(name, jobs=())
            self.pilots[name] = Pilot(self.now + START_TIME + FIRST_JOB)
