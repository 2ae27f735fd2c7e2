"""Tier quota: the limit in a small model of a host without priorities, and how it is divided."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plancton.model import Fleet, Observation, Phase, SetQuota, Settings, Worker
from plancton.policy.decide import quota_in_force
from plancton.policy.quota import DEAD_BAND, FREE, LEAST, WAY_OUT, adjust, divide, total_quota
from plancton.policy.state import State
from plancton.policy.tick_interval import changes_nothing

CPUS = 2.0


class Host:
    """Two CPUs on which the owner gets at least half, and all that the one worker may not use."""

    def __init__(self, worker: float = CPUS, **settings: float) -> None:
        self.settings, self.wants = Settings(uses_quota=True, **settings), 0.0  # type: ignore[arg-type]
        self.limit: float | None = None
        self.cpus = self.allowed = worker
        self.owner = 0.0

    @property
    def fleet(self) -> Fleet:
        return Fleet.of([Worker("worker", "id", Phase.RUNNING, cpus=self.cpus, quota=self.allowed)])

    def second(self) -> Observation:
        self.owner = min(self.wants, max(CPUS - self.allowed, CPUS / 2))
        donated = min(self.allowed, CPUS - self.owner)
        return Observation(0.0, 0.0, CPUS, 1.0, self.owner, donated, idle=CPUS - self.owner - donated)

    def tick(self, seen: Observation | None = None) -> float:
        """One second; the decided limit takes effect at its end."""
        self.limit = quota_in_force(seen or self.second(), State(quota=self.limit), self.settings)
        assert self.limit is not None
        self.allowed = divide(self.fleet, self.limit)["worker"]
        return self.allowed

    def glance(self) -> bool:
        """One second, and a tick only if the limit has to follow; whether it was one."""
        lately = self.second()
        if changes_nothing(lately, self.fleet, State(quota=self.limit), self.settings):
            return False
        self.tick(Observation(0.0, 0.0, CPUS, 9.0, CPUS / 3, CPUS / 3, idle=CPUS / 3, lately=lately))
        return True

    def run(self, seconds: int) -> list[float]:
        return [self.tick() for _ in range(seconds)]


def test_an_owner_who_comes() -> None:
    """An owner who wants every CPU has 95 % after two decisions; the first still sees idle CPU."""
    host = Host()
    host.run(20)
    host.wants = CPUS
    host.run(2)
    assert CPUS - host.allowed >= 0.95 * CPUS, host.allowed


def test_an_owner_who_goes() -> None:
    """When the owner goes, the workers have nine tenths of all after ten seconds, in equal
    steps."""
    host = Host()
    host.wants = CPUS
    host.run(20)
    host.wants = 0.0
    steps = host.run(10)
    assert steps[-1] >= 0.9 * CPUS, steps
    growth = [after - before for before, after in itertools.pairwise(steps)]
    assert max(growth) <= 0.1 * CPUS + 1e-9, growth


def test_a_moment() -> None:
    """Two looks that follow each other at once, as a request may have them, change nothing: one
    hundredth of a second of the owner's looks like every CPU then."""
    seen = Observation(0.0, 0.0, CPUS, 0.004, CPUS, 0.0, idle=0.0)
    assert total_quota(seen, 1.5, Settings()) == 1.5
    whole = Observation(0.0, 0.0, CPUS, 5.0, 0.4, 1.5, idle=0.1, lately=seen)
    assert quota_in_force(whole, State(quota=1.5), Settings(uses_quota=True)) == 1.5


SECONDS = st.lists(st.tuples(st.floats(0, 2 * CPUS), st.integers(1, 20)), min_size=1, max_size=10)


@given(SECONDS)
def test_glances(owner: list[tuple[float, int]]) -> None:
    """With glances the limit is each second's that ticks every second give, in fewer ticks; what has
    been since the last tick, before the last glance, does not count."""
    every_second, glancing = Host(), Host()
    glancing.tick()
    every_second.tick()
    ticks = []
    for wants, seconds in [*owner, (0.0, 20)]:
        every_second.wants = glancing.wants = wants
        for _ in range(seconds):
            every_second.tick()
            ticks.append(glancing.glance())
            assert glancing.allowed == every_second.allowed, (owner, ticks)
    assert not ticks[-1], "the owner is away, and it still ticks"


@given(SECONDS, st.floats(0.1, CPUS))
def test_glances_at_a_worker_that_takes_little(owner: list[tuple[float, int]], worker: float) -> None:
    """A quota that changes beyond what the worker may use is no reason to tick: the worker never has
    more for that than the dead band, and in the end it has all."""
    every_second, glancing = Host(worker), Host(worker)
    glancing.tick()
    every_second.tick()
    for wants, seconds in [*owner, (0.0, 20)]:
        every_second.wants = glancing.wants = wants
        for _ in range(seconds):
            every_second.tick()
            glancing.glance()
            assert glancing.allowed <= every_second.allowed + DEAD_BAND * CPUS + 0.001, owner
    assert glancing.allowed == every_second.allowed, "the owner is away"


@pytest.mark.parametrize("seen", [Observation(0.0, 0.0, CPUS), Observation(0.0, 0.0, CPUS, unknown="broken")])
def test_a_glance_that_sees_nothing(seen: Observation) -> None:
    """What is not known is looked at by a tick."""
    assert not changes_nothing(seen, Fleet(), State(quota=1.0), Settings(uses_quota=True))


@given(wants=st.floats(0, 2 * CPUS), before=st.floats(0, 2 * CPUS))
def test_settles(wants: float, before: float) -> None:
    """Whatever a steady owner wants, the limit settles after some seconds and leaves that free."""
    host = Host()
    host.wants = before
    host.run(15)
    host.wants = wants
    host.run(25)
    settled = host.run(10)
    assert max(settled) - min(settled) < 1e-9, settled
    assert host.owner >= min(wants, CPUS) * 0.9 - 1e-9, f"{host.owner} of {wants}"
    left = max(0.0, CPUS - wants)
    assert settled[-1] >= left - (FREE + 0.03) * CPUS, f"{settled[-1]} of {left}"


def test_the_reserve() -> None:
    """owner.reserve_cpus stays free on top of the owner's use."""
    host = Host(reserve_cpus=0.5)
    host.wants = 0.5
    host.run(20)
    assert host.allowed == pytest.approx(CPUS - 0.5 - 0.5 - FREE * CPUS)


def test_unknown_figures() -> None:
    """Without the kernel's figures nothing changes."""
    assert total_quota(Observation(0.0, 0.0, CPUS), 1.5, Settings()) == 1.5
    assert total_quota(Observation(0.0, 0.0, CPUS), None, Settings()) is None


def test_the_engines_work_is_no_owner() -> None:
    """What the engine uses is not free for workers either."""
    seen = Observation(0.0, 0.0, CPUS, 1.0, 0.5, 0.0, 0.3, idle=1.2)
    assert total_quota(seen, None, Settings()) == pytest.approx(CPUS - 0.8 - FREE * CPUS)


def workers(*phases: Phase, **fields: float) -> Fleet:
    return Fleet(
        tuple(Worker(f"w{n}", f"i{n}", phase, started=float(n), **fields) for n, phase in enumerate(phases))  # type: ignore[arg-type]
    )


def test_the_first_in_line_come_first() -> None:
    """1.3 CPUs are one whole worker and a part; the others get the least that Docker accepts."""
    fleet = workers(Phase.RUNNING, Phase.RUNNING, Phase.FINISHING)
    assert divide(fleet, 1.3) == {"w0": 1.0, "w1": 0.3, "w2": LEAST}


def test_a_way_out() -> None:
    """Leaving workers share what they need to leave, whatever the others have."""
    fleet = workers(Phase.RUNNING, Phase.LEAVING, Phase.KILLED, Phase.STARTING)
    assert divide(fleet, 0.0) == {"w0": LEAST, "w1": WAY_OUT / 2, "w2": WAY_OUT / 2}


def test_only_what_differs() -> None:
    """A worker with the right quota is left alone; without a limit all get theirs back."""
    fleet = workers(Phase.RUNNING, Phase.RUNNING)
    assert adjust(fleet, 2.0) == []
    assert [(a.name, a.cpus) for a in adjust(fleet, 1.3)] == [("w1", 0.3)]
    limited = workers(Phase.RUNNING, Phase.RUNNING, quota=0.3)
    assert {(a.name, a.cpus) for a in adjust(limited, None)} == {("w0", 1.0), ("w1", 1.0)}
    assert all(isinstance(a, SetQuota) for a in adjust(limited, None))
