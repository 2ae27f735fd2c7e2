"""`decide` on hosts whose workers have jobs: who has the most to lose stays, and failures are found
out by one worker at a time. All that holds of plain workers holds here as well.

HYPOTHESIS_EXAMPLES=2000 pytest tests/property/test_pool.py
"""

import os

import hypothesis.strategies as st
import msgspec
from hypothesis import settings
from hypothesis.stateful import initialize, precondition, rule
from property.host import ACTIVE, GB, IN_LINE, Host
from property.test_machine import STEADY, DonatingHost

from plancton.model import Decision, Leave, Observation, Phase, Start, Worker

EXAMPLES = int(os.environ.get("HYPOTHESIS_EXAMPLES", "0"))


class PoolHost(DonatingHost):
    """A host to which anything happens, and whose workers' jobs come and go."""

    @initialize(
        cpus=st.sampled_from([1.0, 2.0, 4.0, 8.0]),
        worker_cpus=st.sampled_from([0.5, 1.0]),
        plain=st.booleans(),
    )
    def _this_big(self, cpus: float, worker_cpus: float, plain: bool = False) -> None:
        """One may have been started before the configuration had a pool."""
        settings = msgspec.structs.replace(STEADY, worker_cpus=worker_cpus)
        self.host = Host(cpus, settings, 16 * GB)
        if plain:
            self.host.add_running(500.0)
        self.host.pool = True

    def _running(self) -> list[Worker]:
        return [w for w in self.host.workers.values() if w.jobs is not None and w.started is not None]

    @precondition(lambda self: self._running())
    @rule(data=st.data(), ago=st.floats(0, 500), ticks=st.integers(0, 20))
    def job_begins(self, data: st.DataObject, ago: float, ticks: int) -> None:
        worker = data.draw(st.sampled_from(sorted(self._running(), key=lambda w: w.name)))
        began = max(worker.started or 0.0, self.host.boot - ago)
        self.host.has_jobs(worker.name, tuple(sorted((*(worker.jobs or ()), began))))
        self.time_passes(ticks)

    @precondition(lambda self: any(w.jobs for w in self._running()))
    @rule(data=st.data())
    def job_ends(self, data: st.DataObject) -> None:
        names = sorted(w.name for w in self._running() if w.jobs)
        worker = self.host.workers[data.draw(st.sampled_from(names))]
        gone = data.draw(st.integers(0, len(worker.jobs or ()) - 1))
        self.host.has_jobs(worker.name, tuple(j for n, j in enumerate(worker.jobs or ()) if n != gone))

    @precondition(lambda self: self._running())
    @rule(data=st.data())
    def worker_finds_no_work(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(w.name for w in self._running())))
        self.host.ends(name, "exit code 75", idle=True)

    def look(self, seen: Observation, decision: Decision) -> None:
        super().look(seen, decision)
        self.check_who_stays(seen, decision)
        self.check_trial(seen, decision)

    def check_who_stays(self, seen: Observation, decision: Decision) -> None:
        """A worker told to leave for lack of room never has more to lose than one that stays."""
        if seen.stopping:
            return
        there = {w.name: w for w in seen.fleet.workers}
        told = [there[a.name] for a in decision.actions if isinstance(a, Leave)]
        late = {w.name for w in told if w.phase is Phase.FINISHING and seen.time >= (w.deadline or 0.0)}
        leave = [w for w in told if w.name not in late and not self.host.has_lost(w)]
        stay = [w for w in there.values() if w.phase in IN_LINE and not w.busy and w not in told]
        for leaver in leave:
            less = [w for w in stay if self.to_lose(w, seen) < self.to_lose(leaver, seen)]
            assert not less, f"{leaver} leaves, and {less} stay at {seen.boottime}"

    def to_lose(self, worker: Worker, seen: Observation) -> tuple[int, float]:
        """What would be lost with this one: a job of this many seconds, a life, or nothing yet."""
        if worker.started is None:
            return 0, 0.0
        if not worker.jobs:
            return 1, seen.boottime - worker.started
        return 2, seen.boottime - min(worker.jobs)

    def check_trial(self, seen: Observation, decision: Decision) -> None:
        """While failures are remembered, one worker starts at a time, and only if no other is on
        trial."""
        state = self.host.state
        starts = [a for a in decision.actions if isinstance(a, Start)]
        if not state.delay.failures or not starts:
            return
        assert len(starts) == 1, f"{len(starts)} starts after {state.delay.failures} failures"
        since = state.delay.last_failure
        trial = [w for w in seen.fleet.workers if w.phase in ACTIVE]
        trial = [w for w in trial if w.started is None or w.started > since]
        assert not trial, f"another start beside {trial}, {state.delay.failures} failures until {since}"


TestPoolHost = PoolHost.TestCase
TestPoolHost.settings = settings(
    max_examples=EXAMPLES or 300,
    stateful_step_count=40,
    derandomize=not EXAMPLES,
    database=None,
)
