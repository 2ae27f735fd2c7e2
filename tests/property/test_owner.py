"""Owners who come and go, over hours: no worker starves forever, none is started again and
again."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from property.host import Host

from plancton.model import Leave, Settings, Start, Worker

PERIODS = (2, 5, 10, 30, 60, 120, 300, 600, 900, 1_200, 1_800, 3_600, 7_200)
DUTIES = (10, 50, 70, 90)
STARTS_PER_HOUR = 6
"""For each CPU. A worker that lived for 10 min is no sign of a bad time to start one, so 60 / (10 +
1)."""
LONG, LEAST = 1_500, 0.15
"""Whoever is there gets this part of its CPU over this many seconds, two and a half grace_kill
(beside older ones, without yielding to younger): less than a third of the time at half a CPU would
be starving."""


def used_until(time: float, period: float, duty: float) -> float:
    """How long an owner who works for the first part of each period has worked by then."""
    return (time // period) * period * duty + min(time % period, period * duty)


class Starving:
    """What each worker could get over spans of LONG seconds, worked out from the owner's load
    alone."""

    def __init__(self) -> None:
        self.got: dict[str, tuple[int, float]] = {}
        self.least = 1.0

    def add(self, line: tuple[Worker, ...], room: float) -> None:
        older = 0.0
        for worker in line:
            seconds, sum_ = self.got.get(worker.name, (0, 0.0))
            part = min(1.0, max(0.0, (room - older) / worker.cpus))
            seconds, sum_ = seconds + 1, sum_ + part
            if seconds == LONG:
                self.least = min(self.least, sum_ / seconds)
                seconds, sum_ = 0, 0.0
            self.got[worker.name] = (seconds, sum_)
            older += worker.cpus


def on_and_off(host: Host, period: float, duty: float, busy: float, hours: float) -> tuple[list[int], float]:
    """The seconds of all starts, and the least part of its CPU that a worker got over a long
    time."""
    starts, starving = list[int](), Starving()
    for second in range(round(hours * 3600)):
        host.owner = busy * (used_until(second + 1, period, duty) - used_until(second, period, duty))
        seen, decision = host.tick()
        starts += [second for a in decision.actions if isinstance(a, Start)]
        starving.add(seen.fleet.line, host.cpus - host.owner)
    return starts, starving.least


@pytest.mark.parametrize("period", PERIODS)
def test_owner_on_and_off(period: int) -> None:
    """An owner of any period and duty: few starts an hour after the first, and nobody starves."""
    hours = max(2.5, 1 + 2 * period / 3600)
    for duty in DUTIES:
        host = Host(2.0)
        starts, least = on_and_off(host, period, duty / 100, host.cpus, hours)
        later = sum(s >= 3600 for s in starts) / (hours - 1) / host.cpus
        assert later <= STARTS_PER_HOUR, f"{later:.1f} starts/h and CPU; period {period} s, duty {duty} %"
        assert least >= LEAST, f"a worker got {least:.0%} of its CPU; period {period} s, duty {duty} %"


@settings(max_examples=15, derandomize=True, database=None)
@given(
    period=st.floats(2, 3_000),
    duty=st.floats(0.1, 0.9),
    busy=st.floats(0.3, 3.0),
    cpus=st.sampled_from([0.5, 1.0, 1.5]),
)
def test_owner_of_any_kind(period: float, duty: float, busy: float, cpus: float) -> None:
    """As before for owners who use a part of the host, and workers of other sizes."""
    host = Host(3.0, Settings(worker_cpus=cpus))
    starts, least = on_and_off(host, period, duty, busy, 2.5)
    later = sum(s >= 3600 for s in starts) / 1.5 / (3.0 / cpus)
    assert later <= STARTS_PER_HOUR, f"{later:.1f} starts an hour for each worker's place"
    assert least >= LEAST, f"a worker got {least:.0%} of its CPU over {LONG} s"


@settings(max_examples=20, derandomize=True, database=None)
@given(
    cpus=st.sampled_from([1.0, 2.0, 4.0, 16.0]),
    before=st.floats(0, 1),
    after=st.floats(0, 1.2),
    grace=st.sampled_from([10.0, 30.0, 120.0, 600.0]),
    worthwhile=st.sampled_from([0.1, 0.5, 1.0]),
    warm=st.integers(0, 1_000),
)
def test_owner_comes_and_stays(
    cpus: float, before: float, after: float, grace: float, worthwhile: float, warm: int
) -> None:
    """Load that lasts for grace_kill reduces the workers to what fits, and no further."""
    host = Host(cpus, Settings(grace_kill=grace, worthwhile=worthwhile))
    host.owner = before * cpus
    host.run(warm)
    host.owner = after * cpus
    host.run(math.ceil(grace) + 1)
    few, many = host.steady_bounds()
    there = len(host.active)
    assert there <= many, f"{there} workers, {many} fit: owner {host.owner:.2f} of {cpus}"
    host.run(4_000)
    assert few <= len(host.active) <= many, f"{len(host.active)} workers in the end, {few} to {many} fit"


@pytest.mark.parametrize("owner", [0.0, 0.4, 1.0, 2.2, 3.3, 4.0])
def test_steady_owner_is_left_alone(owner: float) -> None:
    """With a steady owner, workers start once, and nothing more happens for a day."""
    host = Host(4.0, Settings(lifetime=1e9))
    host.owner = owner
    actions = [a for _, decision in host.run(300) for a in decision.actions]
    few, many = host.steady_bounds()
    assert few <= len(host.active) <= many, f"{len(host.active)} workers, {few} to {many} fit"
    assert len(actions) == len(host.active), actions
    later = [a for _, decision in host.run(8_000) for a in decision.actions]
    assert not later, later


def test_short_peaks_are_no_news() -> None:
    """An owner whose cron jobs take all CPUs for 20 s each minute costs no worker its job."""
    host = Host(4.0)
    host.run(200)
    assert len(host.active) == 4, host.workers
    for _ in range(60):
        host.owner = 4.0
        left = [a for _, d in host.run(20) for a in d.actions if isinstance(a, Leave)]
        host.owner = 0.0
        left += [a for _, d in host.run(40) for a in d.actions if isinstance(a, Leave)]
        assert not left, left
