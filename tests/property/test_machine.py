"""`decide` as a Hypothesis state machine: whatever happens to a host, the promises hold at every
tick.

Failures repeat: the examples are the same in each run (`derandomize`). More of them, and others:
HYPOTHESIS_EXAMPLES=2000 pytest tests/property/test_machine.py
"""

import os
from collections import Counter

import hypothesis.strategies as st
import msgspec
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from property.host import ACTIVE, AT_ONCE, GB, IN_LINE, Host, Moment

from plancton.model import (
    Decision,
    Finish,
    Freeze,
    Kill,
    Leave,
    Observation,
    OwnerRules,
    Phase,
    SetShares,
    Settings,
    Start,
    Thaw,
    Wishes,
)

EXAMPLES = int(os.environ.get("HYPOTHESIS_EXAMPLES", "0"))
NEARLY = 0.02
"""Ticks and windows don't begin and end together: about two seconds of a window are nobody's."""
STEADY = Settings(
    grace_kill=120.0,
    grace_spawn=60.0,
    reserve_memory=2 * GB,
    lifetime=1_800.0,
    finish_timeout=90.0,
    lease=2_400.0,
)


class DonatingHost(RuleBasedStateMachine):
    """A host to which anything happens, and what must hold at each tick."""

    def __init__(self) -> None:
        super().__init__()
        self.host = Host(4.0, STEADY, 16 * GB)

    @initialize(cpus=st.sampled_from([1.0, 2.0, 4.0, 8.0]), worker_cpus=st.sampled_from([0.5, 1.0, 2.0]))
    def _this_big(self, cpus: float, worker_cpus: float) -> None:
        settings = msgspec.structs.replace(STEADY, worker_cpus=worker_cpus)
        self.host = Host(cpus, settings, 16 * GB)

    # ------------------------------------------------------------ what happens

    @rule(ticks=st.integers(1, 90))
    def time_passes(self, ticks: int) -> None:
        for _ in range(ticks):
            self.tick()

    @rule(lengths=st.lists(st.sampled_from([0.3, 0.8, 1.0, 1.3, 2.5]), min_size=1, max_size=10))
    def ticks_are_late(self, lengths: list[float]) -> None:
        for seconds in lengths:
            self.tick(seconds)

    @rule(part=st.floats(0, 1.1), ticks=st.integers(1, 30))
    def owner_works(self, part: float, ticks: int) -> None:
        self.host.owner = part * self.host.cpus
        self.time_passes(ticks)

    @rule(part=st.floats(0, 1))
    def owner_takes_memory(self, part: float) -> None:
        self.host.owner_memory = int(part * self.host.memory)

    @rule(use=st.floats(0, 1.2))
    def workers_take_memory(self, use: float) -> None:
        self.host.use = use

    @rule(seconds=st.floats(1, 40_000))
    def host_is_suspended(self, seconds: float) -> None:
        """CLOCK_BOOTTIME goes on, CLOCK_MONOTONIC does not."""
        self.tick(1.0, suspended=seconds)

    @rule(seconds=st.floats(2, 60))
    def supervisor_is_stopped(self, seconds: float) -> None:
        self.tick(seconds)

    @precondition(lambda self: self.host.workers)
    @rule(data=st.data(), hand=st.booleans())
    def worker_ends(self, data: st.DataObject, hand: bool) -> None:
        name = data.draw(st.sampled_from(sorted(self.host.workers)))
        self.host.ends(name)
        if hand:  # removed before anyone saw it end
            self.host.ended.pop() if self.host.ended else None

    @precondition(lambda self: self.host.workers)
    @rule(data=st.data(), there=st.booleans())
    def job_begins_or_ends(self, data: st.DataObject, there: bool) -> None:
        name = data.draw(st.sampled_from(sorted(self.host.workers)))
        if self.host.workers[name].started is not None:
            self.host.has_jobs(name, (self.host.boot,) if there else ())

    @rule(draining=st.booleans())
    def administrator_drains(self, draining: bool) -> None:
        self.host.draining = draining

    @rule(
        pause=st.sampled_from(["", "paused by the owner"]),
        rules=st.sampled_from([OwnerRules(), OwnerRules(pause="on battery"), OwnerRules(leave="it is day")]),
        freezable=st.sampled_from([True, True, False]),
    )
    def owner_asks(self, pause: str, rules: OwnerRules, freezable: bool) -> None:
        self.host.wishes, self.host.rules = Wishes(pause, freezable=freezable), rules

    @rule()
    def owner_asks_for_nothing(self) -> None:
        self.host.wishes, self.host.rules = Wishes(), OwnerRules()

    @rule(most=st.none() | st.integers(0, 8))
    def max_workers_changes(self, most: int | None) -> None:
        self.host.max_workers = most

    @rule(digest=st.sampled_from(["config-1", "config-2"]), image=st.sampled_from(["", "image-1", "image-2"]))
    def configuration_changes(self, digest: str, image: str) -> None:
        self.host.digest, self.host.image = digest, image

    @rule(hung=st.booleans())
    def docker_hangs_or_answers(self, hung: bool) -> None:
        self.host.hung = hung

    @rule(blind=st.booleans())
    def figures_are_unknown(self, blind: bool) -> None:
        self.host.blind = blind

    @rule(job=st.sampled_from([3.0, 60.0, 100_000.0]))
    def jobs_get(self, job: float) -> None:
        self.host.job = job

    @rule(actions=st.integers(0, 4))
    def supervisor_dies_after(self, actions: int) -> None:
        """The next decision is carried out up to here, and Plancton starts again."""
        self.host.interrupt = actions

    @rule(gone=st.booleans(), exist=st.booleans())
    def supervisor_restarts(self, gone: bool, exist: bool) -> None:
        self.host.restart(told_are_gone=gone, starting_exist=exist)

    @precondition(lambda self: self.host.asks_for_nothing)
    @rule(part=st.floats(0, 1.1))
    def owner_stays_for_the_grace_period(self, part: float) -> None:
        """Workers that do not fit under a steady owner are told to go within grace_kill; Docker may
        hang."""
        host = self.host
        host.owner, host.blind, host.interrupt = part * host.cpus, False, None
        before = host.copy()
        for _ in range(round(host.settings.grace_kill) + 3):
            self.tick()
        line = host.line()
        # When there is too little for both, what workers have counts as theirs.
        anon = sum(int(host.use * w.memory) for w in host.workers.values())
        available = max(0, host.memory - host.owner_memory - anon)
        memory = available + anon - host.settings.reserve_memory
        most = float("inf") if host.max_workers is None else host.max_workers
        fit = host.fitting(line, host.cpus - min(host.owner, host.cpus), memory, most)
        # One on which an action is under way can't be told to go until Docker has done that.
        stay = [w for w in line[fit:] if not w.busy and w.phase in ACTIVE]
        assert not stay, (
            f"owner {host.owner:.2f} of {host.cpus} CPUs for grace_kill; {len(line)} in line, {fit} fit, but "
            f"{[w.name for w in stay]} stay; before: {before.line()}"
        )

    def teardown(self) -> None:
        """In whatever state: told to stop, it ends all workers, by force where Docker was slow."""
        self.host.hung, self.host.stopping = False, True
        patience = self.host.settings.leave_timeout + 20
        for _ in range(round(patience)):
            self.tick()
            if not self.host.workers:
                return
        assert not self.host.workers, (
            f"still there {patience} s after the stop: {list(self.host.workers.values())}"
        )

    # ------------------------------------------------------------ what must be so

    def tick(self, seconds: float = 1.0, suspended: float = 0.0) -> None:
        if not (self.host.stopping and not self.host.workers):
            self.host.tick(seconds, suspended, self.look)

    def look(self, seen: Observation, decision: Decision) -> None:
        self.check_whom(decision, seen)
        self.check_starts(seen, decision, self.host)
        self.check_retired(seen, decision, self.host)
        self.check_fit(seen, decision, self.host)
        self.check_frozen(seen, decision)
        self.check_lost(seen, decision)
        if not self.host.history:
            assert decision.room is None, f"a room out of no figures: {decision}"
            kinds = [a for a in decision.actions if isinstance(a, Start | SetShares)]
            assert not kinds, f"decided on no figures at all: {decision}"

    def check_whom(self, decision: Decision, seen: Observation) -> None:
        """Only ours, each at most once, and none with an action under way, except for a kill."""
        there = {w.name: w for w in seen.fleet.workers}
        names = Counter(a.name for a in decision.actions if not isinstance(a, Start | Freeze | Thaw))
        assert set(names) <= set(there), f"strangers: {set(names) - set(there)}"
        assert max(names.values(), default=0) <= 1, f"more than one action on a worker: {decision.actions}"
        for action in decision.actions:
            if isinstance(action, Start | Freeze | Thaw):
                continue
            worker = there[action.name]
            if not isinstance(action, Kill):
                assert not worker.busy, f"{action} although one is under way: {worker}"
            match action:
                case Finish():
                    assert worker.phase is Phase.RUNNING, f"{action}: {worker}"
                case Leave():
                    assert worker.phase in IN_LINE, f"{action}: {worker}"
                case Kill():
                    late = worker.deadline is not None and seen.time >= worker.deadline
                    assert worker.told is not None and late, (
                        f"killed before its time at {seen.time}: {worker}"
                    )
                case SetShares():
                    assert worker.phase in (Phase.RUNNING, Phase.FINISHING), f"{action}: {worker}"
                    last = worker.shares_time
                    assert last is None or seen.time - last >= 10, f"{action} again at {seen.time}: {worker}"

    def check_starts(self, seen: Observation, decision: Decision, host: Host) -> None:
        """Never while draining or stopping, without an image or Docker, above max_workers or
        without room."""
        starts = sum(isinstance(a, Start) for a in decision.actions)
        if not starts:
            return
        assert not seen.draining and not seen.stopping, f"{starts} starts while draining: {decision}"
        assert not decision.paused, f"{starts} starts against the owner's wish"
        assert seen.image and seen.docker, f"{starts} starts from image {seen.image!r}, docker {seen.docker}"
        assert starts <= host.settings.spawn_per_tick, f"{starts} starts in a tick"
        present = seen.fleet.workers
        if seen.max_workers is not None:
            total = len(present) + starts
            assert total <= seen.max_workers, f"{total} workers, at most {seen.max_workers}"
        known = sum(m.seconds for m in host.history)
        assert known >= 9, f"started after {known} s"
        now: Moment = host.calm()[-1]
        cpus = sum(w.cpus for w in present) + host.settings.worker_cpus * (starts - 1 + 0.7)
        memory = sum(w.memory for w in present) + host.settings.worker_memory * starts
        assert now.cpus >= cpus - 1e-6, (
            f"{starts} starts beside {len(present)} with room for {now.cpus:.2f} CPUs"
        )
        assert now.memory >= memory - 1_000, (
            f"{starts} starts beside {len(present)} with room for {now.memory:.3g} bytes"
        )

    def check_retired(self, seen: Observation, decision: Decision, host: Host) -> None:
        """For CPU, never one that fitted for over a third of the window; for memory, one while it
        is short."""
        line = host.line()
        leavers = [a for a in decision.actions if isinstance(a, Leave)]
        if seen.stopping or decision.paused:
            return
        by_name = {worker.name: worker for worker in line}
        leavers = [a for a in leavers if not self.host.has_lost(by_name[a.name])]
        for action in leavers:
            worker = by_name[action.name]
            if (
                worker.phase is Phase.FINISHING
                and worker.deadline is not None
                and seen.time >= worker.deadline
            ):
                continue
            if action.timeout == AT_ONCE:
                available = seen.memory_available or 0
                assert available < host.settings.reserve_memory, f"{action} with {available} bytes available"
                assert len(leavers) == 1, f"more than one for memory: {leavers}"
                younger = [w for w in line[line.index(worker) + 1 :] if not w.busy]
                assert not younger, f"{action} before the younger {younger}"
                continue
            part, known = host.fitted(worker, line, host.settings.grace_kill)
            assert part <= 1 / 3 + NEARLY, f"{action}: it fitted for {part:.0%} of the last {known:.0f} s"
            assert known >= host.settings.grace_kill - 3, f"{action}, knowing {known:.0f} s"

    def check_frozen(self, seen: Observation, decision: Decision) -> None:
        """After each tick workers are frozen if and only if the owner has paused them, and nobody is
        on the way in or out; whoever leaves is thawed before."""
        kinds = [type(a) for a in decision.actions]
        frozen = Freeze in kinds or (seen.frozen and Thaw not in kinds)
        leaves = Leave in kinds or any(w.phase is Phase.LEAVING for w in seen.fleet.workers)
        assert not (frozen and (leaves or seen.stopping or not decision.paused)), f"frozen: {decision}"
        assert kinds.count(Freeze) + kinds.count(Thaw) <= 1, f"to and fro: {decision}"
        assert not {Freeze, Thaw} & {*kinds[1:]}, f"thawed too late: {decision}"
        starts = any(w.phase is Phase.STARTING for w in seen.fleet.workers)
        paused = seen.wishes.pause or seen.rules.pause
        if (
            paused
            and not seen.stopping
            and seen.wishes.freezable
            and seen.fleet.line
            and not leaves
            and not starts
        ):
            assert frozen, f"not frozen: {decision}; {seen.fleet}"

    def check_lost(self, seen: Observation, decision: Decision) -> None:
        """Who has a job whose lease ran out in a suspend leaves at the first tick at which it can."""
        told = {a.name for a in decision.actions if isinstance(a, Leave | Kill)}
        stay = [
            w.name for w in seen.fleet.line if self.host.has_lost(w) and not w.busy and w.name not in told
        ]
        assert not stay, f"{stay} compute what is lost: {decision}"

    def check_fit(self, seen: Observation, decision: Decision, host: Host) -> None:
        """The count is the same as when the workers are checked one by one."""
        if not host.history or seen.owner is None:
            return
        line, now = host.line(), host.calm()[-1]
        fit = host.fitting(line, now.cpus, now.memory, now.max_workers)
        nearby = {
            host.fitting(line, now.cpus + by, now.memory + 1e9 * by, now.max_workers)
            for by in (-1e-6, 0.0, 1e-6)
        }
        assert min(decision.fit, len(line)) in nearby, f"{decision.fit} fit of {line}, counted {fit} in {now}"

    @invariant()
    def limits_hold(self) -> None:
        """All that exist may never use more than the host has, except for the part that a start may
        lack."""
        host = self.host
        promised = sum(w.cpus for w in host.workers.values())
        most = host.cpus + 0.3 * host.settings.worker_cpus + 1e-9
        assert promised <= most, f"{promised} CPUs promised on a host of {host.cpus}: {host.workers}"


TestDonatingHost = DonatingHost.TestCase
TestDonatingHost.settings = settings(
    max_examples=EXAMPLES or 300,
    stateful_step_count=40,
    derandomize=not EXAMPLES,
    database=None,
)
