"""When the next tick is due."""

from typing import Any

import msgspec
import pytest

from plancton.model import Decision, Fleet, Kill, Observation, Phase, Settings, Worker
from plancton.policy.decide import decide
from plancton.policy.state import State
from plancton.policy.tick_interval import BRISK, FASTEST, next_tick, stretched

CALM, STEADY = 5.0, 15.0
GB = 1_000_000_000
SETTINGS = Settings(worker_memory=GB, grace_kill=600.0, grace_spawn=60.0, reserve_memory=2 * GB, gap=20.0)
RUNNING = Worker("a", "1", Phase.RUNNING, memory=GB, started=1.0, shares=1024, image="i")
CALM_HOST = Observation(
    time=10_000.0, boottime=10_000.0, capacity=4.0, interval=CALM, owner=0.5, donated=0.01, idle=3.49,
    memory_total=64 * GB, memory_available=48 * GB, image="i", max_workers=1, fleet=Fleet.of([RUNNING]),
)  # fmt: skip


def due(ticks: int = 300, goes_by: Settings = SETTINGS, **changed: Any) -> float:
    """What comes out once this has been seen for so many ticks."""
    state, seen, decision = State(), msgspec.structs.replace(CALM_HOST, **changed), Decision(0, "")
    for _ in range(ticks):
        decision, state = decide(seen, state, goes_by)
        times = {"time": seen.time + CALM, "boottime": seen.boottime + CALM}
        before, seen = seen, msgspec.structs.replace(seen, **times)
    return next_tick(before, decision, state, goes_by, CALM, STEADY)


def fleet(**fields: Any) -> Fleet:
    return Fleet.of([msgspec.structs.replace(RUNNING, **fields)])


def test_nothing_is_going_on() -> None:
    """With all workers there and an owner who always uses the same, it sleeps as long as it may."""
    assert due() == STEADY


@pytest.mark.parametrize("donated", [0.11, 1.0])
def test_workers_that_work(donated: float) -> None:
    """What workers take from the owner besides is found at ticks: while they work, none is longer."""
    assert due(donated=donated, idle=3.5 - donated) == CALM


def test_it_is_not_known_yet_whether_anything_is_going_on() -> None:
    """For the first minute it sleeps as long as where the owner moves."""
    assert due(ticks=6) == CALM


def test_an_owner_who_moves() -> None:
    """A minute in which the owner did not always use the same is followed more closely."""
    state, seen, decision = State(), CALM_HOST, Decision(0, "")
    for tick in range(60):
        times = {"time": seen.time + CALM, "boottime": seen.boottime + CALM}
        seen = msgspec.structs.replace(seen, owner=0.5 + 2.0 * (tick % 10 == 0), **times)
        decision, state = decide(seen, state, SETTINGS)
    assert next_tick(seen, decision, state, SETTINGS, CALM, STEADY) == CALM


@pytest.mark.parametrize(("calm", "steady"), [(1.0, 3.0), (5.0, 15.0), (10.0, 15.0), (45.0, 45.0)])
def test_how_much_longer(calm: float, steady: float) -> None:
    """Three times as long, but no longer than a quarter of a minute for that."""
    assert stretched(calm) == steady


@pytest.mark.parametrize(
    "changed",
    [
        {"owner": None},
        {"docker": False},
        {"stopping": True},
        {"unexplained": True},
        {"memory_available": GB},
        {"disk_free": 1, "disk_total": 10},
        {"fleet": fleet(phase=Phase.STARTING)},
        {"fleet": fleet(phase=Phase.LEAVING, deadline=1e9)},
        {"fleet": fleet(busy=True)},
    ],
    ids=lambda changed: next(iter(changed)),
)
def test_something_is_under_way(changed: dict[str, Any]) -> None:
    """While something comes, goes, is short or unknown, it ticks each second."""
    goes_by = msgspec.structs.replace(SETTINGS, reserve_disk=5)
    assert due(goes_by=goes_by, **changed) == BRISK


def test_a_stuck_worker_is_no_hurry() -> None:
    """A worker that can't die does not keep the loop busy for ever."""
    assert due(fleet=fleet(phase=Phase.KILLED, stuck=True, deadline=1e9)) == STEADY


def test_where_workers_are_limited_by_us() -> None:
    """In tier quota ticks are as seldom: the owner gets the CPU by glances."""
    assert due(goes_by=msgspec.structs.replace(SETTINGS, uses_quota=True)) == STEADY


def test_one_that_does_not_fit() -> None:
    """Nobody is looked at more often until the window can have filled, and then at that moment."""
    there = fleet(shares=2)
    assert due(ticks=10, owner=4.0, fleet=there) == CALM, "400 s are to go"
    assert due(ticks=120, owner=4.0, fleet=there) < CALM, "the window is full but for a moment"


def test_room_for_another() -> None:
    """A start is due as soon as the window can have filled."""
    assert due(ticks=2, max_workers=2) < CALM or due(ticks=3, max_workers=2) == BRISK


def test_memory_that_goes() -> None:
    """The less memory there is beyond the reserve, the sooner it is looked at."""
    beyond = 3 * FASTEST
    assert due(memory_available=SETTINGS.reserve_memory + beyond) == pytest.approx(3.0)
    assert due(memory_available=SETTINGS.reserve_memory + beyond, fleet=Fleet(), max_workers=0) == STEADY


def test_a_deadline() -> None:
    """It wakes for the deadline of one that was asked to finish."""
    before = CALM_HOST.time + 299 * CALM
    assert due(fleet=fleet(phase=Phase.FINISHING, deadline=before + 2.5)) == pytest.approx(2.5)


def test_short_windows() -> None:
    """A window is filled by several ticks, however short it is."""
    assert due(goes_by=msgspec.structs.replace(SETTINGS, grace_kill=6.0)) == pytest.approx(2.0)


def test_after_an_action() -> None:
    """What was told to somebody is followed up at once."""
    decision = Decision(1, "", actions=(Kill("a", "did not leave in time"),))
    assert next_tick(CALM_HOST, decision, State(), SETTINGS, CALM, STEADY) == BRISK
