"""A worker that does not fit waits as long as it is worth. Its jobs' CPU seconds are at stake; the
patience is that, `grace_kill` is ten minutes, and two thirds of a patience are enough to leave."""

from typing import Any

import pytest
from unit.policy.ticks import BOOT, GB, Ticks, of, worker

from plancton.model import LEAST_SHARES, Leave, Settings, Worker
from plancton.policy.tick_interval import next_tick
from plancton.policy.unfit_patience import patience_of

SETTINGS = Settings(stake=1.0, longest_wait=3_600.0)
HALF = 1_800.0
MOST = 12_000


def with_stake(stake: float, name: str = "w0", **fields: Any) -> Worker:
    return worker(name, 20_000.0, jobs=(BOOT - 15_000.0,), worked=True, stake=stake, **fields)


def leaves_after(ticks: Ticks, **owner: Any) -> float:
    """Seconds from an owner who takes everything until the first worker leaves."""
    ticks.run(700)
    began = ticks.now
    time, _ = ticks.until(Leave, MOST, **(owner or {"owner": 4.0}))
    return time - began


@pytest.mark.parametrize(
    ("stake", "settings", "seconds"),
    [
        (0.0, SETTINGS, 600.0),
        (500.0, SETTINGS, 600.0),
        (HALF, SETTINGS, HALF),
        (10 * HALF, SETTINGS, 2 * HALF),
        (HALF, Settings(stake=0.0), 600.0),
        (HALF, Settings(stake=0.5), 0.5 * HALF),
        (HALF, Settings(stake=1.0, longest_wait=0.0), 600.0),
        (HALF, Settings(stake=1.0, grace_kill=4 * HALF), 4 * HALF),
    ],
)
def test_patience(stake: float, settings: Settings, seconds: float) -> None:
    """Patience is what is at stake, between grace_kill and the longest wait."""
    assert patience_of(with_stake(stake), settings) == seconds


@pytest.mark.parametrize("stake", [0.0, 900.0, HALF, 20 * HALF])
def test_leaves_after_two_thirds(stake: float) -> None:
    """Beside an owner who stays, a worker leaves after two thirds of its patience, and says so."""
    ticks = Ticks(SETTINGS, [with_stake(stake)])
    waited = leaves_after(ticks)
    length = patience_of(with_stake(stake), SETTINGS)
    assert 0.0 <= waited - length * 2 / 3 <= 0.05 * length + 10.0, waited
    (leave,) = [a for a in ticks.tick(owner=4.0).actions if isinstance(a, Leave)]
    assert abs(float(leave.reason.split(" for ")[1].split()[0]) - waited) <= 0.05 * length + 10.0, leave


def test_least_at_stake_goes_first() -> None:
    """Of two, the one whose job has used less leaves first, though its job is older."""
    older = worker("old", 30_000.0, jobs=(BOOT - 29_000.0,), worked=True, stake=900.0)
    ticks = Ticks(SETTINGS, [older, with_stake(HALF, "rich")])
    ticks.run(700)
    _, actions = ticks.until(Leave, MOST, owner=4.0)
    assert [a.name for a in actions if isinstance(a, Leave)] == ["old"]


def test_short_loads_are_waited_out() -> None:
    """An owner who takes all for ten minutes of each twenty costs a job of half an hour nothing, and
    one without a stake its place."""
    for stake, left in ((HALF, 0), (0.0, 1)):
        ticks = Ticks(SETTINGS, [with_stake(stake)])
        ticks.run(700)
        actions = [action for _ in range(3) for owner in (4.0, 0.0) for action in ticks.run(600, owner=owner)]
        assert bool(of(Leave, actions)) == bool(left), stake


@pytest.mark.parametrize(
    "short",
    [{"memory_available": 5 * GB // 2, "memory_total": 4 * GB, "slice_anon": 0}, {"max_workers": 0}],
    ids=["memory", "maximum"],
)
def test_what_is_not_yielded_is_not_waited_for(short: dict[str, Any]) -> None:
    """Who does not fit for memory, or for a maximum that somebody has set, leaves after two thirds
    of grace_kill, whatever is at stake."""
    settings = Settings(stake=1.0, reserve_memory=2 * GB)
    waited = leaves_after(Ticks(settings, [with_stake(10 * HALF)]), **short)
    assert waited <= 420.0


def test_a_gap_begins_again() -> None:
    """After a suspend nobody leaves for what was before it."""
    ticks = Ticks(SETTINGS, [with_stake(HALF)])
    ticks.run(700)
    ticks.run(1_000, owner=4.0)
    ticks.suspended += 1_000.0
    began = ticks.now
    time, _ = ticks.until(Leave, MOST, owner=4.0)
    assert time - began >= 1_190.0


def test_the_next_tick_is_in_time() -> None:
    """The loop wakes no later than a worker may have waited for long enough."""
    ticks = Ticks(SETTINGS, [with_stake(HALF, shares=LEAST_SHARES)])
    ticks.run(700)
    ticks.run(1_150, owner=4.0)
    seen = ticks.seen(1.0, owner=4.0)
    decision = ticks.tick(owner=4.0)
    assert not decision.actions
    waits = next_tick(seen, decision, ticks.state, SETTINGS, 10_000.0, 10_000.0)
    assert waits <= 1_200.0 - 1_150.0 + 20.0, waits
