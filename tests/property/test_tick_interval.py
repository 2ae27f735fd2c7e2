"""The supervisor ticks as seldom as `next_tick` lets it; what is decided is the same."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from property.host import GB, Host

from plancton.model import Decision, Leave, Observation, Settings, Start
from plancton.policy.tick_interval import BRISK, next_tick, stretched

CALM = 5.0
GOES_BY = Settings(
    worker_memory=GB, grace_kill=120.0, grace_spawn=30.0, lifetime=1e9, gap=4 * CALM, spawn_per_tick=1
)
END = 2_400.0
RECORDED = Path(__file__).with_name("recorded.txt").read_text().splitlines()
"""Of every 131st PlanetLab host, from 8 to 14 hours on 2011-03-03 (CoMon; the data set published with
CloudSim): the whole percent of the CPU in use, one figure for five minutes."""
FIVE_MINUTES = 300.0


class Owner:
    """Uses these CPUs from these seconds on, whenever a tick happens to be."""

    def __init__(self, steps: list[tuple[float, float]]) -> None:
        self.steps = steps

    def used(self, until: float) -> float:
        """CPU seconds by then."""
        total, since, cpus = 0.0, 0.0, 0.0
        for start, new in [*self.steps, (until, 0.0)]:
            total += cpus * max(0.0, min(until, start) - since)
            since, cpus = start, new
        return total

    def mean(self, begin: float, end: float) -> float:
        return (self.used(end) - self.used(begin)) / (end - begin)


Happened = list[tuple[str, float]]


def play(owner: Owner, calm: float, work: float, end: float = END) -> tuple[Happened, int]:
    """When workers were started and told to leave, and how many ticks that took."""
    host, happened, ticks = Host(4.0, GOES_BY), Happened(), 0
    host.work = work
    time, seconds = 0.0, BRISK
    while time < end:
        host.owner = owner.mean(time, time + seconds)
        time += seconds
        seen, decision = host.tick(seconds)
        ticks += 1
        kinds = [type(a).__name__ for a in decision.actions if isinstance(a, Start | Leave)]
        happened += [(kind, time) for kind in kinds]
        seconds = pace(host, seen, decision, calm)
    return happened, ticks


def pace(host: Host, seen: Observation, decision: Decision, calm: float) -> float:
    return next_tick(seen, decision, host.state, host.settings, calm, stretched(calm))


@settings(max_examples=20, derandomize=True, database=None)
@given(
    st.lists(
        st.tuples(st.sampled_from([200.0, 400.0, 700.0]), st.sampled_from([0.0, 1.0, 2.4, 3.9])),
        min_size=1,
        max_size=6,
    ),
    st.sampled_from([0.0, 1.0]),
)
def test_same_decisions(moves: list[tuple[float, float]], work: float) -> None:
    """An owner who comes and goes, each time for longer than the windows are: each start and each
    leaving is that of a supervisor that ticks every second, by at most one tick where nothing moves
    (and the second to which ticks are rounded) earlier or later. Workers compute, or rest."""
    steps, at = list[tuple[float, float]](), 0.0
    for wait, cpus in moves:
        at += wait
        steps.append((at, cpus))
    every_second, many = play(Owner(steps), BRISK, work)
    calm, few = play(Owner(steps), CALM, work)
    assert [kind for kind, _ in every_second] == [kind for kind, _ in calm], (every_second, calm)
    assert not later_than_a_tick(every_second, calm)
    assert few < many, "it never sleeps longer"


def later_than_a_tick(every_second: Happened, calm: Happened) -> list[tuple[str, float, float]]:
    """What does not happen within one tick where nothing moves, and the second to which ticks are
    rounded."""
    return [
        (kind, a, b)
        for (kind, a), (_, b) in zip(every_second, calm, strict=True)
        if abs(a - b) > stretched(CALM) + BRISK
    ]


@pytest.mark.parametrize("number", range(len(RECORDED)))
def test_same_decisions_on_recorded_days(number: int) -> None:
    """An owner as recorded: the same starts and leavings, by at most one tick earlier or later."""
    busy = [0.04 * float(percent) for percent in RECORDED[number].split()]
    owner = Owner([(FIVE_MINUTES * line, cpus) for line, cpus in enumerate(busy)])
    end, work = FIVE_MINUTES * len(busy), float(number % 2)
    every_second, _ = play(owner, BRISK, work, end)
    calm, _ = play(owner, CALM, work, end)
    assert [kind for kind, _ in every_second] == [kind for kind, _ in calm], (every_second, calm)
    assert every_second and not later_than_a_tick(every_second, calm)
