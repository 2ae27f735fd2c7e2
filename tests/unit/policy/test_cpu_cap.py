"""What the owner lets all workers use: at once when it is less, later when it is more."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from unit.policy.ticks import Ticks, of, worker, workers

from plancton.model import Fleet, Leave, OwnerRules, SetQuota, Settings, Start
from plancton.policy.cpu_cap import UNCAPPED, slice_limit
from plancton.policy.tick_interval import next_tick

SETTINGS = Settings(grace_kill=120.0, pause_hold=30.0)


def capped(cpus: float | None) -> dict[str, Any]:
    return {"rules": OwnerRules(cap=cpus)}


def test_less_at_once() -> None:
    """A lower cap is in force at the next tick, and who does not fit into it leaves after
    grace_kill, as before an owner who uses the rest."""
    ticks = Ticks(SETTINGS, workers(3))
    ticks.run(130)
    decision = ticks.tick(**capped(1.0))
    assert decision.cap and (decision.cap.cpus, decision.cap.reason) == (1.0, "owner.cpu_cap")
    ticks.run(12, **capped(1.0))
    assert "may use 1 CPUs (owner.cpu_cap)" in ticks.tick(**capped(1.0)).sentence
    leaves = of(Leave, ticks.run(100, **capped(1.0)))
    assert {leave.name for _, leave in leaves} == {"w1", "w2"}


def test_no_more_than_it_feeds() -> None:
    """Only as many are started as the cap is worth."""
    ticks = Ticks(SETTINGS)
    assert len(of(Start, ticks.run(30, **capped(2.0)))) > 0
    _, actions = Ticks(SETTINGS).until(Start, **capped(2.0))
    assert len(actions) == 2
    assert not of(Start, Ticks(SETTINGS).run(200, **capped(0.5)))


def test_more_after_a_while() -> None:
    """More is in force when nothing less was asked for during pause_hold; then all, again."""
    ticks = Ticks(SETTINGS, workers(1))
    ticks.run(5, **capped(1.0))
    caps = [ticks.tick(**capped(2.0)).cap for _ in range(32)]
    assert [cap and cap.cpus for cap in caps] == [1.0] * 30 + [2.0] * 2
    for _ in range(29):
        assert (cap := ticks.tick().cap) and cap.cpus == 2.0
    ticks.run(3)
    assert ticks.tick().cap is None and ticks.state.cap == UNCAPPED


@settings(max_examples=30)
@given(st.lists(st.sampled_from([None, 0.5, 1.0, 1.02, 3.0]), min_size=60, max_size=300))
def test_a_cap_that_flaps(caps: list[float | None]) -> None:
    """However it comes and goes, it changes a few times a minute, and is never more than what is
    asked for, nearly."""
    ticks = Ticks(SETTINGS, workers(1))
    changes, before = list[float](), None
    for asked in caps:
        cap = ticks.tick(**capped(asked)).cap
        assert asked is None or (cap and cap.cpus <= asked + 0.08)
        if cap != before:
            changes.append(ticks.now)
        before = cap
    assert max((sum(t <= each < t + 60 for each in changes) for t in changes), default=0) <= 8


@pytest.mark.parametrize(
    ("changed", "cap", "quotas"),
    [
        ({"uses_quota": True}, 1.5, [0.5]),
        ({"nested_quotas": False}, 0.5, [0.5, 0.01]),
        ({"nested_quotas": False}, 1.5, []),
        ({}, 0.5, []),
    ],
    ids=["tier quota", "v1, less than a worker", "v1, more", "v2"],
)
def test_where_the_slice_can_not(changed: dict[str, Any], cap: float, quotas: list[float]) -> None:
    """Docker limits the workers one by one where the kernel can't have the slice so limited, and no
    longer than needed."""
    ticks = Ticks(Settings(grace_kill=120.0, **changed), workers(2))
    told = {a.name: a.cpus for _, a in of(SetQuota, ticks.run(3, **capped(cap)))}
    assert sorted(told.values(), reverse=True) == quotas
    ticks.there = [worker(w.name, quota=told.get(w.name)) for w in ticks.there]
    if quotas:
        _, actions = ticks.until(SetQuota, most=40)
        assert max(a.cpus for a in actions if isinstance(a, SetQuota)) > quotas[-1]


def test_the_limit_of_the_slice() -> None:
    """On v1 the kernel refuses a slice's limit below a worker's, and a worker's above the slice's:
    it is never below what a worker is made with."""
    v1, there = Settings(nested_quotas=False), Fleet.of(workers(2))
    assert slice_limit(0.3, there, Settings()) == 0.3
    assert slice_limit(0.3, Fleet(), v1) == slice_limit(0.3, there, v1) == 1.0
    assert slice_limit(2.5, there, v1) == 2.5
    assert slice_limit(0.3, Fleet.of([worker("large", cpus=3.0)]), v1) == 3.0


def test_the_lower_cap_holds() -> None:
    """That of the rule or that for the temperature, and the decision says which."""
    settings = Settings(grace_kill=120.0, max_temperature=75.0)
    ticks = Ticks(settings, workers(3), donated=3.0)
    ticks.run(10, rules=OwnerRules(cap=2.0, temperature=60.0))
    cap = ticks.tick(rules=OwnerRules(cap=2.0, temperature=60.0)).cap
    assert cap and (cap.cpus, cap.by_heat) == (2.0, False)
    for _ in range(30):
        cap = ticks.tick(rules=OwnerRules(cap=2.0, temperature=95.0)).cap
    assert cap and cap.by_heat and cap.cpus < 1.0 and "75 °C" in cap.reason


def test_wakes_in_time() -> None:
    """The loop does not sleep beyond the moment at which more is in force."""
    ticks = Ticks(SETTINGS, workers(1))
    ticks.run(5, **capped(1.0))
    seen, decision = ticks.seen(), ticks.tick()
    assert next_tick(seen, decision, ticks.state, SETTINGS, 1000.0, 1000.0) <= 31


def test_unused_it_costs_nothing() -> None:
    """Without a cap a tick makes no new state."""
    ticks = Ticks(SETTINGS, workers(1))
    ticks.run(10)
    assert ticks.state.cap is UNCAPPED
